import type { Policy } from '../../policy/load.ts'
import type { Problem } from '../../policy/problem.ts'
import type { Bus } from '../bus/bus.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import { createPolicyStore, type Pointer, type PointerName, type PolicyStore } from './store.ts'
import { openPolicyFile, type PolicyText } from './file.ts'
import { sourcesOf } from './kept-text.ts'
import { loadPolicyBeside } from './load.ts'
import { auditPolicySubject } from '../subjects.ts'

/**
 * The policy in force, and the candidate that is only looked at. In force is what the file says, unless somebody has rolled
 * back: then all gateways decide by the stored snapshot until that is lifted, whatever their files say.
 */
export type Policies = {
  current(): Policy
  /** The candidate that is evaluated beside it, if there is one. */
  shadow(): Policy | undefined
  /** What a reader of `/readyz?verbose` should know about it. */
  detail(): string
  reload(): Promise<void>
  rollBack(to: string | null, by: string, reason: string): Promise<'done' | 'unknown'>
  setShadow(candidate: PolicyText | null, by: string, reason: string): Promise<void>
  readonly store: PolicyStore
  note(type: string, data: object): Promise<void>
  /** Begins to act on what is stored; before that only the file counts. */
  start(bus: Bus): Promise<void>
  stop(): void
}

export type PoliciesOptions = {
  readonly file: string
  readonly gateway: string
  readonly log: Log
  readonly metrics: Metrics
  readonly nowMs: () => number
}

const readEveryMs = 400

/** Opens the file at once, so that a gateway without a policy does not even connect. */
export async function openPolicies(options: PoliciesOptions): Promise<Policies> {
  const { log, metrics, gateway, nowMs } = options
  let bus: Bus | undefined
  let store: PolicyStore | undefined
  let active: { readonly policy: Policy; readonly pointer: Pointer } | undefined
  let shadow: Policy | undefined
  /** The snapshot that somebody rolled back to and that does not load here. */
  let missing: string | undefined
  const keep = async ({ policy, text }: PolicyText): Promise<void> => store?.keep(policy.snapshot, text)
  const file = await openPolicyFile(options.file, keep, (change) => {
    metrics.setPolicy(policies.current().snapshot, change.type === 'loaded')
    const told = change.type === 'loaded' ? activated(change.loaded) : refusedFile(change.problems)
    told.catch((err: unknown) => log.error({ err }, 'a policy change is not on record'))
  })
  const note = async (type: string, data: object): Promise<void> => {
    const time = new Date(nowMs()).toISOString()
    const body = JSON.stringify({ specversion: '1.0', type, source: `urn:sluice:${gateway}`, time, data })
    const appended = await bus?.append(auditPolicySubject, body)
    if (appended?.type !== 'stored') throw new Error('AUDIT is full')
  }
  const activated = async ({ policy }: PolicyText): Promise<void> => {
    log.info({ policy: policy.snapshot }, 'policy activated')
    await note('sluice.policy.activated.v1', {
      policy_snapshot: policy.snapshot,
      source_hash: policy.sourceHash,
      origin: 'file',
      // A file that changes while a rollback holds is loaded, kept, and not in force.
      in_force: active === undefined,
    })
  }
  const refusedFile = async (problems: readonly Problem[]): Promise<void> => {
    const { snapshot } = policies.current()
    log.error({ problems: problems.length, policy: snapshot }, 'policy refused, the last good one stays')
    await note('sluice.policy.rejected.v1', {
      policy_snapshot: snapshot,
      problems: problems
        .slice(0, 5)
        .map(({ message, line, column, file: name }) => ({ message, file: name, line, column })),
    })
  }
  const stored = async (snapshot: string): Promise<Policy | undefined> => {
    const text = await store?.text(snapshot)
    if (text === undefined) return undefined
    const loaded = await loadPolicyBeside(sourcesOf(text))
    // A text that no longer means what its key says would be another policy under an old name.
    return loaded.ok && loaded.policy.snapshot === snapshot ? loaded.policy : undefined
  }
  const readActive = async (): Promise<void> => {
    const pointer = await store?.pointer('active')
    const wanted = pointer?.snapshot ?? undefined
    if (wanted === active?.policy.snapshot) {
      missing = undefined
      return
    }
    const policy = wanted === undefined ? undefined : await stored(wanted)
    if (wanted !== undefined && policy === undefined) {
      // Looked for again each time, told once.
      if (wanted !== missing)
        log.error({ policy: wanted }, 'the snapshot that is to be in force cannot be loaded')
      missing = wanted
      return
    }
    missing = undefined
    active = policy === undefined || pointer === undefined ? undefined : { policy, pointer }
    const { snapshot, sourceHash } = policies.current()
    metrics.setPolicy(snapshot, file.reloadOk())
    log.info({ policy: snapshot }, 'policy activated')
    const origin = active === undefined ? 'file' : 'rollback'
    const by = pointer?.by
    await note('sluice.policy.activated.v1', {
      policy_snapshot: snapshot,
      source_hash: sourceHash,
      origin,
      by,
    })
  }
  const readShadow = async (): Promise<void> => {
    const pointer = await store?.pointer('shadow')
    const wanted = pointer?.snapshot ?? undefined
    if (wanted !== shadow?.snapshot) shadow = wanted === undefined ? undefined : await stored(wanted)
  }
  let reading: Promise<void> | undefined
  const read = (): Promise<void> =>
    (reading ??= readActive()
      .then(readShadow)
      .finally(() => (reading = undefined)))
  let timer: NodeJS.Timeout | undefined
  const point = async (
    name: PointerName,
    snapshot: string | null,
    by: string,
    reason: string,
  ): Promise<void> => {
    const at = new Date(nowMs()).toISOString()
    const type = name === 'active' ? 'sluice.policy.rollback.v1' : 'sluice.policy.shadow-set.v1'
    // The order is on record before any gateway can follow it.
    await note(type, { policy_snapshot: snapshot, by, reason })
    await policies.store.point(name, { snapshot, by, reason, at })
    await reading
    await read()
  }
  const policies: Policies = {
    current: () => active?.policy ?? file.current().policy,
    shadow: () => shadow,
    detail: () => {
      const rolled =
        active === undefined ? '' : `; rolled back by ${active.pointer.by}, the file does not count`
      const lost =
        missing === undefined ? '' : `; the rollback to ${missing} cannot be loaded and does not hold`
      const stale = file.reloadOk() ? '' : '; stale: the newest file does not load'
      const beside = shadow === undefined ? '' : `; shadow ${shadow.snapshot}`
      return `${policies.current().snapshot}${rolled}${lost}${stale}${beside}`
    },
    reload: () => file.reload(),
    rollBack: async (to, by, reason) => {
      if (to !== null && (await stored(to)) === undefined) return 'unknown'
      await point('active', to, by, reason)
      return 'done'
    },
    setShadow: async (candidate, by, reason) => {
      if (candidate !== null) await policies.store.keep(candidate.policy.snapshot, candidate.text)
      await point('shadow', candidate?.policy.snapshot ?? null, by, reason)
    },
    get store() {
      if (store === undefined) throw new Error('the policy store is asked before the bus is there')
      return store
    },
    note,
    start: async (connected) => {
      bus = connected
      store = createPolicyStore(connected)
      const { policy, text } = file.current()
      await store.keep(policy.snapshot, text)
      await read()
      timer = setInterval(() => void read().catch(() => undefined), readEveryMs)
      timer.unref()
    },
    stop: () => {
      clearInterval(timer)
      file.stop()
    },
  }
  return policies
}
