import { type Inputs } from './inputs.ts'
import { type FoundNats } from './nats-binary.ts'
import { type Ready } from './ready.ts'

export type BannerFacts = {
  version: string
  nats: FoundNats
  inputs: Inputs
  ready: Ready
  workers: readonly string[]
  /** What is not where one would look for it, one sentence each. */
  notes: readonly string[]
}

/** What a person sees when everything is up: what listens where, and what to try. */
export function banner({ version, nats, inputs, ready, workers, notes }: BannerFacts): string {
  const { http_url: api, nats_url: natsUrl, gateways, data_dir: dataDir, policy_snapshot: snapshot } = ready
  const others = gateways.slice(1).map(({ http_url }) => http_url)
  return [
    `Sluice ${version} - dev profile - loopback only - NOT for production`,
    `  nats      ${natsUrl}  (nats-server ${nats.version}, ${nats.from}; private, JetStream)`,
    `  policy    ${inputs.policyFile}  ${inputs.policy.rules.length} rules, snapshot ${snapshot.slice(0, 12)}, no match = DENY`,
    `  fail mode ${inputs.failMode.toUpperCase()}`,
    `  api       ${api}${others.length > 0 ? `  also ${others.join(' ')}` : ''}  (/healthz /readyz /metrics)`,
    `  workers   ${workers.length > 0 ? workers.join(', ') : 'none (--no-demo)'}`,
    `  data      ${dataDir}  (ready.json has all credentials)`,
    ...notes.map((note) => `  note      ${note}`),
    '',
    'Try it, in another terminal:',
    '  npm run drill                    the whole story, step by step',
    `  npx sluice job submit job.mcp-bridge.read.get_ticket --payload '{"id":"T-1"}' --wait --url ${api}`,
    ...natsRequest(ready),
    `  curl -sS -X POST ${api}/api/v1/jobs -H 'Content-Type: application/json' \\`,
    `    -d '{"topic":"job.mcp-bridge.write.update_ticket","risk_tags":["prod"]}'`,
    `  curl -sS '${api}/api/v1/approvals?include_resolved=false'`,
    '',
    'Ctrl-C ends everything.',
  ].join('\n')
}

/** With the agent that has an account to itself: the inbox of the NATS command line is open to it. */
function natsRequest({ nats_url: natsUrl, credentials }: Ready): string[] {
  const agent = credentials.find(({ role, publish }) => role === 'agent' && publish === 'job.')
  if (agent === undefined) return []
  const login = `--server ${natsUrl} --user ${agent.user} --password ${agent.password}`
  return [
    '  # the same as an agent on the bus, if the nats command line is installed:',
    `  nats ${login} req job.mcp-bridge.read.get_ticket '{"payload":{"id":"T-1"}}'`,
  ]
}
