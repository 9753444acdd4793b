import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'
import type { Answer } from '../../audit/answer.ts'
import { decodeRecord, type AuditRecord } from '../../audit/record.ts'
import type { Config } from '../../gateway/config/config.ts'
import { defaultLimits } from '../../gateway/nats/streams.ts'
import type { TestNats } from './nats-server.ts'

/** Nothing is asked of a decision, nobody is answered from the past, and the bounds are far away. */
export const testApprovals: Config['approvals'] = {
  requireBinding: false,
  denialCacheSec: 0,
  perTenantMax: 50_000,
  perAgentMax: 20_000,
}

/** HTTP on a free port of the loopback address, without anything that is asked for beyond that. */
export const testHttp: Config['http'] = {
  host: '127.0.0.1',
  port: 0,
  hosts: [],
  origins: [],
  ratePerSec: 10_000,
  tls: undefined,
  insecure: false,
}

/** A configuration for gateways of one test: a policy of its own, keys of its own, quiet. */
export async function testConfig(
  nats: TestNats,
  policy: string,
  more: Partial<Config> = {},
): Promise<Config> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-gateway-'))
  const policyFile = join(dir, 'policy.yaml')
  const keysFile = join(dir, 'keys.json')
  await writeFile(policyFile, policy)
  await writeFile(keysFile, JSON.stringify(newKeys(nats.topology.tenants.map(({ name }) => name))), {
    mode: 0o600,
  })
  return {
    profile: 'dev',
    gateway: 'test-1',
    nats: { url: nats.url, user: 'gateway', credential: { password: nats.passwords['gateway'] ?? '' } },
    http: testHttp,
    tokensFile: undefined,
    policyFile,
    topologyFile: 'deploy/topology.yaml',
    keysFile,
    decisionTimeoutMs: 2_000,
    failMode: 'closed',
    failOpenTopics: [],
    dispatchTimeoutSec: 300,
    acceptFindings: [],
    quarantineExpiresSec: 7 * 86_400,
    limits: defaultLimits,
    approvals: testApprovals,
    logLevel: (process.env['SLUICE_TEST_LOG'] as Config['logLevel'] | undefined) ?? 'silent',
    ...more,
  }
}

function newKeys(tenants: readonly string[]): object {
  const secret = (): string => randomBytes(32).toString('base64')
  return {
    result_key: secret(),
    tenant_keys: Object.fromEntries(tenants.map((tenant) => [tenant, [{ id: '1', key: secret() }]])),
    ticket_key: generateKeyPairSync('ed25519')
      .privateKey.export({ format: 'der', type: 'pkcs8' })
      .toString('base64'),
  }
}

export type Asked = Answer & {
  stream?: string
  seq?: number
  duplicate?: boolean
  error?: { description: string }
}

/** Submits as an agent would with `nats req`. */
export async function ask(
  agent: NatsConnection,
  subject: string,
  body: unknown,
  messageId?: string,
  timeout = 5_000,
): Promise<Asked> {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
  const options: { timeout: number; headers?: ReturnType<typeof headers> } = { timeout }
  if (messageId !== undefined) {
    options.headers = headers()
    options.headers.set('Nats-Msg-Id', messageId)
  }
  return (await agent.request(subject, text, options)).json<Asked>()
}

/** A worker of the core pool that answers every job with what `work` makes of it. */
export async function coreWorker(
  nats: TestNats,
  user: string,
  work: (job: Msg) => { body?: Uint8Array | string; status?: 'ok' | 'error' } | undefined,
): Promise<{ readonly seen: Msg[] }> {
  const connection = await nats.connect(user)
  const seen: Msg[] = []
  connection.subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (_error, job) => {
      seen.push(job)
      const done = work(job)
      if (done !== undefined) answerJob(connection, user, job, done.body ?? '{}', done.status)
    },
  })
  await connection.flush()
  return { seen }
}

/** What a shell worker does: one publish with the echoed headers. */
export function answerJob(
  connection: NatsConnection,
  worker: string,
  job: Msg,
  body: Uint8Array | string,
  status: 'ok' | 'error' = 'ok',
): void {
  const echoed = headers()
  for (const name of ['Sluice-Attempt', 'Sluice-Result-Token', 'Sluice-Constraints-Hash'])
    echoed.set(name, job.headers?.get(name) ?? '')
  echoed.set('Sluice-Status', status)
  connection.publish(`result.${worker}.${job.headers?.get('Sluice-Job') ?? ''}`, body, { headers: echoed })
}

/** Everything in AUDIT, read as the auditor reads it: by sequence, without the gateway. */
export async function readAudit(
  nats: TestNats,
  from = 1,
): Promise<{ seq: number; subject: string; record: AuditRecord }[]> {
  const auditor = await nats.connect('demo-auditor')
  const info = (await auditor.request('gov.API.STREAM.INFO.AUDIT')).json<{ state: { last_seq: number } }>()
  const records: { seq: number; subject: string; record: AuditRecord }[] = []
  const window = 64
  for (let start = from; start <= info.state.last_seq; start += window) {
    const batch = Array.from(
      { length: Math.min(window, info.state.last_seq - start + 1) },
      (_, i) => start + i,
    )
    const messages = await Promise.all(
      batch.map((seq) =>
        auditor.request('gov.API.DIRECT.GET.AUDIT', JSON.stringify({ seq }), { timeout: 5_000 }),
      ),
    )
    for (const [index, message] of messages.entries())
      if (message.headers?.code !== 404)
        records.push({
          seq: batch[index] ?? 0,
          subject: message.headers?.get('Nats-Subject') ?? '',
          record: decodeRecord(message.data),
        })
  }
  await auditor.close()
  return records
}

/** The records of one job, oldest first. */
export async function readJob(nats: TestNats, job: string): Promise<AuditRecord[]> {
  return (await readAudit(nats))
    .filter(({ subject }) => subject === `audit.${job}`)
    .map(({ record }) => record)
}

/** Waits for a condition; the test's own time limit is the only clock. */
export async function until<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
