import { readFile } from 'node:fs/promises'

import { z } from 'zod'

import {
  demoNatsConf,
  natsConf,
  natsUsers,
  type NatsConfOptions,
  type NatsCredentials,
} from '../gateway/nats/conf.ts'
import { parseTopology, type Topology } from '../gateway/config/topology.ts'
import { checkYaml, problemText } from '../gateway/config/yaml-file.ts'
import { exitCodes } from './exit-codes.ts'
import { UsageError, type Call, type Subcommand } from './subcommand.ts'

/** `sluice nats conf`: the server's configuration on standard output. */
export const natsConfCommand: Subcommand = {
  about: "the server's configuration, from the topology",
  help: `usage: sluice nats conf [--topology FILE] [--listen HOST:PORT] [--nkeys FILE | --bcrypt FILE] [--tls CERT KEY CA]

Writes nats.conf to standard output: an account for every tenant, pool and the people, and for every user the least it
needs to say and hear.

--topology FILE    who is on the bus (default topology.yaml)
--listen ADDRESS   default ${demoNatsConf.listen}
--nkeys FILE       public NKeys (user: U...) for all users, instead of passwords from the environment
--bcrypt FILE      bcrypt hashes (user: $2a$...) for all users, likewise
--tls CERT KEY CA  files on the machine of the server`,
  sharedHelp: '',
  options: { topology: 'text', listen: 'text', nkeys: 'text', bcrypt: 'text', tls: 'text' },
  words: { min: 0, max: 2 },
  run: async (call) => {
    const options = optionsOf(call)
    const topology = await read(call, call.text['topology'] ?? 'topology.yaml', parseTopology)
    if (topology === undefined) return exitCodes.badConfiguration
    const credentials = await credentialsFor(call, topology)
    if (credentials === undefined) return exitCodes.badConfiguration
    const conf = natsConf(topology, { ...options, credentials }).trimEnd()
    call.terminal.out(call.json ? JSON.stringify({ conf }) : conf)
    return exitCodes.ok
  },
}

function optionsOf({ text, rest }: Call): Omit<NatsConfOptions, 'credentials'> {
  const listen = text['listen'] ?? demoNatsConf.listen
  // It stands bare in the file, so it must be nothing but an address.
  if (!/^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}$/.test(listen))
    throw new UsageError('--listen is like 0.0.0.0:4222')
  const cert = text['tls']
  if (cert === undefined) {
    if (rest.length > 0) throw new UsageError(`${rest[0]} is one word too many`)
    return { listen }
  }
  const [key, ca] = rest
  if (key === undefined || ca === undefined) throw new UsageError('--tls needs three files: CERT KEY CA')
  return { listen, tls: { cert, key, ca } }
}

async function credentialsFor(call: Call, topology: Topology): Promise<NatsCredentials | undefined> {
  const { nkeys, bcrypt } = call.text
  if (nkeys !== undefined && bcrypt !== undefined) throw new UsageError('--nkeys or --bcrypt, not both')
  const file = nkeys ?? bcrypt
  if (file === undefined) return demoNatsConf.credentials
  const shape = nkeys === undefined ? BcryptHash : PublicKey
  const users = natsUsers(topology)
  const schema = z.strictObject(Object.fromEntries(users.map((user) => [user, shape])))
  const found = await read(call, file, (name, text) => checkYaml(name, text, schema))
  if (found === undefined) return undefined
  const byUser = new Map(Object.entries(found))
  return nkeys === undefined ? { type: 'bcrypt', hashes: byUser } : { type: 'nkeys', publicKeys: byUser }
}

const PublicKey = z
  .string()
  .regex(/^U[A-Z2-7]{55}$/, "must be a user's public NKey: U and 55 characters more")
const BcryptHash = z
  .string()
  .regex(/^\$2[abxy]\$\d{2}\$[./A-Za-z0-9]{53}$/, 'must be a bcrypt hash, like $2a$11$...')

/** The checked content of a file; undefined, after saying why, if it has none. */
async function read<Value>(
  { terminal }: Call,
  file: string,
  parse: (
    file: string,
    text: string,
  ) => { ok: true; value: Value } | { ok: false; problems: Parameters<typeof problemText>[0][] },
): Promise<Value | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) {
    terminal.err(`${file} cannot be read`)
    return undefined
  }
  const parsed = parse(file, text)
  if (parsed.ok) return parsed.value
  for (const problem of parsed.problems) terminal.err(problemText(problem))
  return undefined
}
