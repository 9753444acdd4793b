import { readFile } from 'node:fs/promises'
import { evaluate } from '../policy/evaluate.ts'
import { openAnswers } from './answers.ts'
import { openApprovers } from './approvals/approvers.ts'
import { connectBus, type Bus } from './bus/bus.ts'
import { keepRoom } from './bus/room.ts'
import { createChain } from './chain.ts'
import { collect } from './collect.ts'
import { createDecisions } from './decisions.ts'
import type { Delivery } from './bus/delivery.ts'
import type { Config } from './config/config.ts'
import { openHttp } from './http/server.ts'
import { intercept, type Owner } from './intercept.ts'
import type { Io } from './io.ts'
import { openKeyring } from './config/keyring.ts'
import { createLimiter } from './limiter.ts'
import { createLog, type Log } from './log.ts'
import { createMetrics } from './metrics.ts'
import { describe } from './policies/file.ts'
import { openPolicies } from './policies/policies.ts'
import { createPending, waitingRow } from './approvals/pending.ts'
import { pull, type Pull } from './bus/pull.ts'
import { openQueries, type Queries } from './queries/queries.ts'
import { readiness, type Phase } from './readiness.ts'
import { createRefusals, type Refusals } from './refusals.ts'
import { carryOutStored } from './stored-command.ts'
import { gatewayConsumer, intakeStream, resultsStream } from './nats/streams.ts'
import { checkServer } from './nats/start-check.ts'
import { recordKeys, recordStart } from './start-record.ts'
import type { Finding } from './nats/doctor-server.ts'
import { createShadow } from './policies/shadow.ts'
import { openControl } from './stops/control.ts'
import { openOperators } from './stops/operators.ts'
import { createRunning } from './running.ts'
import { createTickets, type Tickets } from './tickets.ts'
import { startTimers, type Timers } from './timers.ts'
import { parseTopology, placedAgents, type Topology } from './config/topology.ts'
import { startWatch, type Watch } from './watch.ts'

export type Gateway = {
  readonly httpUrl: string
  /** The fatal findings about the server with which it started all the same. */
  readonly accepted: readonly Finding[]
  /** Reads policy, tokens and certificate now, changed or not. */
  reload(): Promise<void>
  stop(): Promise<void>
}

const intakeInFlightMax = 256
/** One agent cannot fill the trail faster than this; beyond, its own stream fills. */
const intakePerAgentPerSecMax = 20_000

/** What a test puts in the place of the real thing. */
export type Replacements = Partial<Pick<Io, 'evaluate' | 'nowMs'>> & {
  readonly bus?: (bus: Bus) => Bus
  readonly tickets?: (tickets: Tickets) => Tickets
}

/** Everything open, in the order in which it depends on each other; `stop` goes the other way round. */
export async function startGateway(config: Config, replace: Replacements = {}): Promise<Gateway> {
  const log = createLog(config.logLevel, config.gateway)
  const nowMs = replace.nowMs ?? Date.now
  const metrics = createMetrics()
  const topology = readTopology(config.topologyFile, await readFile(config.topologyFile, 'utf8'))
  let keysChanged: () => Promise<void> = async () => undefined
  const keyring = await openKeyring(config.keysFile, () => keysChanged())
  const { gateway, policyFile } = config
  const policies = await openPolicies({ file: policyFile, gateway, log, metrics, nowMs })
  const connected = await connect(config, 'bus', log)
  const bus = keepRoom(replace.bus?.(connected) ?? connected)
  const accepted = await checkServer(bus, config, topology, nowMs, log).catch(async (error: unknown) => {
    await bus.close()
    throw error
  })
  const control = await openControl(bus, config.gateway, nowMs, (err) =>
    log.error({ err }, 'an order to stop is not on record yet'),
  )
  const pending = createPending()
  const tickets = createTickets(keyring.current, nowMs)
  let timers: Timers | undefined
  let queries: Queries | undefined
  const io: Io = {
    bus,
    // The index need not read what we wrote ourselves.
    chain: createChain(bus, (at) => {
      pending.note(waitingRow(at.record.data))
      queries?.appended(at)
    }),
    pending,
    limiter: createLimiter(bus),
    running: createRunning(bus),
    decisions: createDecisions(bus),
    control,
    config,
    topology,
    get keys() {
      return keyring.current()
    },
    tickets: replace.tickets?.(tickets) ?? tickets,
    log,
    metrics,
    policy: () => policies.current(),
    policies,
    shadow: createShadow(policies, log, nowMs),
    evaluate: replace.evaluate ?? evaluate,
    nowMs,
    ended: (job) => timers?.ended(job),
  }
  metrics.setFailMode(config.failMode)
  await policies.start(bus)
  metrics.setPolicy(policies.current().snapshot, true)
  await recordStart(io, accepted)
  keysChanged = () => recordKeys(io)
  const refusals = createRefusals(io)
  const watch = startWatch(io, [
    'AUDIT',
    'APPROVALS',
    'THROTTLED',
    'WORK',
    'QUARANTINE',
    ...intakes(topology).map(([stream]) => stream),
    ...topology.pools.map(({ name }) => resultsStream(name)),
  ])
  const opened = openQueries(io)
  queries = opened
  let phase: Phase = 'starting'
  // Before any job is taken: a gateway whose port is taken must not run half.
  const http = await openHttp(io, {
    queries: opened,
    refusals,
    ready: () => readiness(io, watch, keyring, phase, accepted),
    measure: watch.look,
  }).catch(async (error: unknown) => {
    opened.close()
    await bus.close()
    throw error
  })
  const ear = await connect(config, 'ear', log)
  openAnswers(io, ear)
  openApprovers(io, refusals)
  openOperators(io, refusals)
  timers = await startTimers(io)
  const pulls = startPulls(io, refusals, watch)
  // Ready means that the server knows all subscriptions: a request before that would have no ear.
  await Promise.all([bus.flush(), ear.flush()])
  phase = 'up'
  log.info(
    { http: http.url, policy: policies.current().snapshot, failMode: config.failMode },
    'gateway is up',
  )
  return {
    httpUrl: http.url,
    accepted,
    reload: async () => {
      // Each for itself: a certificate that cannot be read must not keep a policy out.
      await Promise.all([http.reload(), policies.reload()])
    },
    stop: async () => {
      phase = 'draining'
      await http.close()
      await Promise.all(pulls.map((one) => one.stop()))
      await timers.stop()
      watch.stop()
      control.close()
      refusals.stop()
      policies.stop()
      keyring.stop()
      opened.close()
      await Promise.all([bus.close(), ear.close()])
    },
  }
}

function readTopology(file: string, text: string): Topology {
  const parsed = parseTopology(file, text)
  if (!parsed.ok) throw new Error(parsed.problems.map((problem) => describe(file, problem)).join('\n'))
  return parsed.value
}

/** `use` is what the connection is for, as logs and the server's list of connections have it. */
function connect(config: Config, use: 'bus' | 'ear', log: Log): Promise<Bus> {
  const { credential } = config.nats
  return connectBus({
    url: config.nats.url,
    user: config.nats.user,
    ...('password' in credential ? { password: credential.password } : { nkeySeed: credential.nkeySeed }),
    inboxPrefix: '_INBOX_gateway',
    name: use === 'bus' ? `sluice ${config.gateway}` : `sluice ${config.gateway} ${use}`,
    onStatus: (event) => event !== 'ping' && log.info({ event }, use),
  })
}

function intakes(topology: Topology): [string, Owner][] {
  const agents = placedAgents(topology).map(({ tenant, name }): [string, Owner] => [
    intakeStream(tenant, name),
    { tenant, agent: name },
  ])
  return [...agents, ['JOBS_HTTP', undefined]]
}

/** One loop for each stream of causes. Each cause is acknowledged by its handler, after everything it caused. */
function startPulls(io: Io, refusals: Refusals, watch: Watch): Pull[] {
  const loop = (
    stream: string,
    handle: (delivery: Delivery) => Promise<void>,
    extra: { readonly open?: () => boolean; readonly ratePerSec?: number } = {},
  ): Pull =>
    pull(io.bus, {
      stream,
      consumer: gatewayConsumer,
      inFlightMax: intakeInFlightMax,
      handle,
      onError: (err) => io.log.warn({ stream, err }, 'not finished: the cause comes again'),
      ...extra,
    })
  return [
    ...intakes(io.topology).map(([stream, owner]) =>
      loop(stream, (delivery) => intercept(io, refusals, owner, delivery), {
        open: watch.intakeOpen,
        ...(owner === undefined ? {} : { ratePerSec: intakePerAgentPerSecMax }),
      }),
    ),
    ...io.topology.pools.map(({ name }) =>
      loop(resultsStream(name), (delivery) => collect(io, refusals, delivery)),
    ),
    loop('COMMANDS', (delivery) => carryOutStored(io, refusals, delivery)),
  ]
}
