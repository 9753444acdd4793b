import { decodeRecord, type AuditRecord } from '../../audit/record.ts'
import { startReplay, type Replay } from '../../audit/replay.ts'
import { loadPolicy } from '../../policy/load.ts'
import type { NatsConnection } from '@nats-io/transport-node'

const inFlight = 64

/**
 * Decides everything on record again, each record under the snapshot that it names and by what it says alone. Throws if a single
 * decision comes out otherwise: run at the end of every test that had a server, this holds for everything the suite ever did.
 */
export async function replayAll(auditor: NatsConnection, gateway: NatsConnection): Promise<void> {
  const policies = new Map<string, Replay | undefined>()
  const replayOf = async (snapshot: string): Promise<Replay | undefined> => {
    if (!policies.has(snapshot)) {
      const stored = await gateway.request(
        `$JS.API.STREAM.MSG.GET.KV_gov_policy`,
        JSON.stringify({ last_by_subj: `$KV.gov_policy.${snapshot}` }),
      )
      const { message } = stored.json<{ message?: { data?: string } }>()
      const loaded = loadPolicy(Buffer.from(message?.data ?? '', 'base64').toString())
      policies.set(
        snapshot,
        loaded.ok && loaded.policy.snapshot === snapshot ? startReplay(loaded.policy) : undefined,
      )
    }
    return policies.get(snapshot)
  }
  const unknown: string[] = []
  for await (const record of recordsOf(auditor)) {
    if (typeof record.data?.job_id !== 'string') continue
    const { policy_snapshot: snapshot } = record.data.decision
    if ((await replayOf(snapshot)) === undefined && record.data.input !== undefined) unknown.push(record.id)
    // All of a job's records to all, so that each knows what was before; only its own snapshot's count.
    for (const replay of policies.values()) replay?.add(record)
  }
  const broken = [...policies.values()].flatMap((replay) => replay?.report().not_reproduced.job_ids ?? [])
  if (broken.length > 0) throw new Error(`not reproduced from the record: ${broken.join(', ')}`)
  if (unknown.length > 0) throw new Error(`no policy was kept for ${unknown.slice(0, 5).join(', ')}`)
}

async function* recordsOf(auditor: NatsConnection): AsyncGenerator<AuditRecord> {
  const info = (await auditor.request('gov.API.STREAM.INFO.AUDIT')).json<{ state?: { last_seq: number } }>()
  const last = info.state?.last_seq ?? 0
  for (let from = 1; from <= last; from += inFlight) {
    const count = Math.min(inFlight, last - from + 1)
    const messages = await Promise.all(
      Array.from({ length: count }, (_, at) =>
        auditor.request('gov.API.DIRECT.GET.AUDIT', JSON.stringify({ seq: from + at }), { timeout: 5_000 }),
      ),
    )
    for (const { data, headers } of messages)
      // Tests of the bus itself write there what is no record at all.
      if (data[0] === 0x7b && /^audit\.[^_]/.test(headers?.get('Nats-Subject') ?? ''))
        yield decodeRecord(data)
  }
}
