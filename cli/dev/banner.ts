import { type Credential } from './credentials.ts'

export type BannerFacts = {
  version: string
  natsUrl: string
  natsVersion: string
  natsFrom: string
  policyFile: string
  rules: number
  snapshot: string
  failMode: string
  gateways: readonly string[]
  workers: readonly string[]
  dataDir: string
  agent: Credential | undefined
  /** What is not where one would look for it, one sentence each. */
  notes: readonly string[]
}

/** What a person sees when everything is up: what listens where, and what to try. */
export function banner(facts: BannerFacts): string {
  const [api = ''] = facts.gateways
  const others = facts.gateways.slice(1)
  return [
    `Sluice ${facts.version} - dev profile - loopback only - NOT for production`,
    `  nats      ${facts.natsUrl}  (nats-server ${facts.natsVersion}, ${facts.natsFrom}; private, JetStream)`,
    `  policy    ${facts.policyFile}  ${facts.rules} rules, snapshot ${facts.snapshot.slice(0, 12)}, no match = DENY`,
    `  fail mode ${facts.failMode.toUpperCase()}`,
    `  api       ${api}${others.length > 0 ? `  also ${others.join(' ')}` : ''}  (/healthz /readyz /metrics)`,
    `  workers   ${facts.workers.length > 0 ? facts.workers.join(', ') : 'none (--no-demo, or not built)'}`,
    `  data      ${facts.dataDir}  (ready.json has all credentials)`,
    ...facts.notes.map((note) => `  note      ${note}`),
    '',
    'Try it, in another terminal:',
    '  npm run drill                    the whole story, step by step',
    ...(facts.agent === undefined ? [] : [`  ${natsRequest(facts.natsUrl, facts.agent)}`]),
    `  curl -sS -X POST ${api}/api/v1/jobs -H 'Content-Type: application/json' \\`,
    `    -d '{"topic":"job.mcp-bridge.write.update_ticket","risk_tags":["prod"]}'`,
    `  curl -sS '${api}/api/v1/approvals?include_resolved=false'`,
    '',
    'Ctrl-C ends everything.',
  ].join('\n')
}

function natsRequest(natsUrl: string, agent: Credential): string {
  const login = `--server ${natsUrl} --user ${agent.user} --password ${agent.password}`
  return `nats ${login} req job.mcp-bridge.read.get_ticket '{"payload":{"id":"T-1"}}'`
}
