import { isLoopbackAddress } from '../http/loopback.ts'
import { need, type SettingValues } from './settings.ts'

/** The ways to give the NATS credential; exactly one of them is used. */
export const credentialKeys = [
  'nats.password',
  'nats.password_file',
  'nats.nkey_seed',
  'nats.nkey_seed_file',
] as const

/** What each setting may say alone but not beside the others. */
export function contradictionsIn(values: SettingValues): string[] {
  const credentials = credentialKeys.filter((key) => values[key] !== undefined)
  return [
    ...(values.profile === 'dev' ? ofDev(values) : ofStandard(values)),
    ...ofFailMode(values),
    ...(credentials.length > 1 ? [`say only one of ${credentials.join(', ')}`] : []),
  ]
}

function ofDev(values: SettingValues): string[] {
  const host = need(values, 'http.host')
  const problems: string[] = []
  if (!isLoopbackAddress(host))
    problems.push(
      `profile dev takes calls without authentication and listens on loopback only, not on ${host}`,
    )
  if (values.tokens !== undefined)
    problems.push('profile dev asks nobody for a token: with tokens the profile is standard')
  return problems
}

function ofStandard(values: SettingValues): string[] {
  const host = need(values, 'http.host')
  const cert = values['http.tls_cert_file']
  const key = values['http.tls_key_file']
  const problems: string[] = []
  if ((cert === undefined) !== (key === undefined))
    problems.push('http.tls_cert_file and http.tls_key_file belong together: say both or none')
  // Without tokens nothing secret is asked for and nothing is told but whether the gateway is ready.
  const secret = values.tokens !== undefined
  if (secret && cert === undefined && !need(values, 'http.insecure') && !isLoopbackAddress(host))
    problems.push(
      `tokens would cross the network in clear on ${host}: set http.tls_cert_file and http.tls_key_file, ` +
        'listen on loopback, or write http.insecure: true if something before it encrypts',
    )
  return problems
}

function ofFailMode(values: SettingValues): string[] {
  const topics = need(values, 'fail_open_topics')
  if (values.fail_mode === 'open' && topics.length === 0)
    return [
      'fail_mode open needs fail_open_topics: nothing passes undecided unless its topic is written down',
    ]
  if (values.fail_mode === 'closed' && topics.length > 0)
    return ['fail_open_topics are named, but fail_mode is closed: say which one is meant']
  return []
}
