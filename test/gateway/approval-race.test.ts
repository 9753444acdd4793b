import { afterAll, beforeAll, expect, test } from 'vitest'
import { readFile } from 'node:fs/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import { freePort } from '../../cli/dev/ports.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startReplicas } from '../crash/replicas.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readAudit, testConfig, until } from '../helpers/gateway.ts'

const write = 'job.mcp-bridge.write.update_ticket'
const names = ['demo-approver', 'second-approver'] as const
const atOnce = 50
const killedRounds = 5
/** A gateway that died does not answer: then the other is asked. */
const askAgainAfterMs = 3_000
const patienceMs = 30_000

type Said = {
  status?: number
  code?: string
  detail?: string
  state?: string
  resolution?: { decision: string; by: string; via: string; at: string; note: string }
}

let nats: TestNats
let config: Config
let agent: NatsConnection
let people: readonly NatsConnection[]
let received: readonly { headers?: { get(name: string): string } | undefined }[]

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8'))
  agent = await nats.connect('demo', { maxReconnectAttempts: -1 })
  people = await Promise.all(names.map((name) => nats.connect(name)))
  received = (await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))).seen
})
afterAll(async () => {
  await nats.stop()
})

/** Half of them by request, half over HTTP at one gateway or the other; every third one refuses. */
function decide(
  apis: readonly ApiCall[],
  job: string,
  nth: number,
  timeout: number = patienceMs,
): Promise<Said> {
  const decision = nth % 3 === 0 ? 'reject' : 'approve'
  const body = { note: `by number ${nth}` }
  if (nth % 2 === 0) return overHttp(apis[(nth >> 1) % apis.length] as ApiCall, job, decision, body)
  const who = (nth >> 1) % names.length
  return (people[who] as NatsConnection)
    .request(`approvals.resolve.${names[who] ?? ''}.${job}`, JSON.stringify({ decision, ...body }), {
      timeout,
    })
    .then((reply) => reply.json<Said>())
}

async function overHttp(api: ApiCall, job: string, decision: string, body: object): Promise<Said> {
  const answer = await api('POST', `/api/v1/approvals/${job}/${decision}`, body)
  // The mapping of a problem to a status is the same on both ways.
  if (answer.status !== 200) expect(answer.body['status']).toBe(answer.status)
  return answer.body
}

/** Asks until somebody answers: who lost the connection to a gateway that died does not know what became of it. */
async function insist(apis: readonly ApiCall[], job: string, nth: number): Promise<Said> {
  return until(async () => {
    const said = await decide(apis, job, nth, askAgainAfterMs).catch(() => undefined)
    return said?.code === 'unavailable' ? undefined : said
  })
}

type Round = { readonly job: string; readonly said: readonly Said[] }

/** What everybody was told is what is on record, and what is on record happened once. */
async function holds(rounds: readonly Round[], wins: 'exactly one' | 'at most one'): Promise<void> {
  const chains = await until(async () => {
    const all = await readAudit(nats)
    const found = rounds.map(({ job }) =>
      all.filter(({ subject }) => subject === `audit.${job}`).map(({ record }) => record.data),
    )
    return found.every((chain) => chain.at(-1)?.terminal !== undefined) && found
  })
  for (const [index, { job, said }] of rounds.entries()) {
    const chain = chains[index] ?? []
    const resolved = chain.filter(({ event }) => event === 'approved' || event === 'rejected')
    expect(resolved).toHaveLength(1)
    const { resolution } = resolved[0] ?? {}
    const won = said.filter(({ code }) => code === undefined)
    if (wins === 'exactly one') expect(won).toHaveLength(1)
    else expect(won.length).toBeLessThanOrEqual(1)
    for (const winner of won) expect(winner.resolution).toEqual(resolution)
    for (const loser of said.filter(({ code }) => code !== undefined)) {
      expect(loser).toMatchObject({ status: 409, code: 'already_resolved', resolution })
      expect(loser.detail).toContain(`${resolution?.by} was first`)
    }
    const approved = resolution?.decision === 'approve'
    expect(chain.filter(({ state }) => state.to === 'DISPATCHED')).toHaveLength(approved ? 1 : 0)
    expect(received.filter(({ headers }) => headers?.get('Sluice-Job') === job)).toHaveLength(
      approved ? 1 : 0,
    )
  }
}

async function park(): Promise<string> {
  const parked = await until(() =>
    ask(agent, write, { risk_tags: ['prod'] }, crypto.randomUUID()).catch(() => undefined),
  )
  expect(parked.state).toBe('PARKED')
  return parked.job_id
}

test('of fifty who decide at once, over HTTP and NATS at two gateways, one wins, everybody else is told who, and it runs once', async () => {
  // The promise is counted on one server; on the other, fewer rounds show that its compare-and-set is no other.
  const count = nats.version.startsWith('2.9.') ? 30 : 100
  const gateways: Gateway[] = await Promise.all(
    ['race-1', 'race-2'].map((gateway) => startGateway({ ...config, gateway })),
  )
  const apis = gateways.map(({ httpUrl }) => apiOf(httpUrl))
  const rounds: Round[] = []
  for (let round = 0; round < count; round++) {
    const job = await park()
    const said = await Promise.all(Array.from({ length: atOnce }, (_, nth) => decide(apis, job, nth + round)))
    rounds.push({ job, said })
  }
  await holds(rounds, 'exactly one')
  await Promise.all(gateways.map((gateway) => gateway.stop()))
}, 240_000)

test('the same while the gateways are killed: at most one is told that it won, and that one is on record', async () => {
  const ports = [await freePort(0), await freePort(0)]
  const replicas = await startReplicas(
    ports.map((port, index) => ({
      ...config,
      gateway: `killed-${index + 1}`,
      http: { ...config.http, port },
    })),
  )
  const apis = ports.map((port) => apiOf(`http://127.0.0.1:${port}`))
  const rounds: Round[] = []
  for (let round = 0; round < killedRounds; round++) {
    const job = await park()
    const all = Array.from({ length: atOnce }, (_, nth) => insist(apis, job, nth + round))
    // Sooner in each round: before, among and after the appends.
    const killed = new Promise((done) => setTimeout(done, 10 * (killedRounds - round))).then(() =>
      replicas.kill(round % 2),
    )
    rounds.push({ job, said: await Promise.all(all) })
    await killed
  }
  await holds(rounds, 'at most one')
  expect({ kills: replicas.kills, falls: replicas.falls }).toEqual({ kills: killedRounds, falls: [] })
  await replicas.stop()
}, 240_000)
