import { createPrivateKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'

import { z } from 'zod'

const secretBytes = 32

const Secret = z
  .base64()
  .refine((text) => Buffer.from(text, 'base64').length === secretBytes, 'must be 32 bytes in base64')

const KeyFile = z.strictObject({
  result_key: Secret,
  tenant_keys: z.record(z.string(), z.array(z.strictObject({ id: z.string().min(1), key: Secret })).min(1)),
  ticket_key: z.string().min(1),
  /** Later pairs, oldest first, each used from its time on. */
  rotations: z
    .array(
      z.strictObject({
        from: z.iso.datetime(),
        result_key: Secret,
        ticket_key: z.string().min(1),
      }),
    )
    .optional(),
})

/** What all gateways share, because a redelivery may reach another one and must make the same bytes again. */
export type Keys = {
  /** HMAC keys of the result tokens, oldest first; never empty. */
  resultKeys: readonly Dated<Buffer>[]
  /** Per tenant, oldest first; the last is current. A key that is taken out makes its job hashes unguessable for ever. */
  tenantKeys: Map<string, TenantKey[]>
  /** Ed25519, sign the tickets on dispatched messages; oldest first, never empty. */
  ticketKeys: readonly Dated<KeyObject>[]
}

/** A key and the time from which it is used, in milliseconds since the epoch; keys before it are only verified with. */
export type Dated<Key> = { readonly key: Key; readonly fromMs: number }

export type TenantKey = { id: string; key: Buffer }

/**
 * Creates what is missing: the key file, readable by its owner only, and in it a key for each tenant that has none.
 * What stands in it stays: a key that is lost makes every hash made with it uncheckable.
 */
export async function createKeys(file: string, tenants: readonly string[]): Promise<void> {
  const present = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  const content = present === undefined ? newKeyFile() : checkedKeyFile(file, present)
  const missing = tenants.filter((tenant) => !Object.hasOwn(content.tenant_keys, tenant))
  if (present !== undefined && missing.length === 0) return
  for (const tenant of missing) content.tenant_keys[tenant] = [{ id: '1', key: secret() }]
  await replace(file, content)
}

/** Of a dispatched job nothing lives longer: WORK keeps it for two hours. */
const livesMs = 2 * 3_600_000

/**
 * Adds a new result key and a new ticket key that are used from `fromMs` on, so that every gateway has read them before the
 * first one uses them. Keys that were replaced so long ago that nothing made with them lives any more go. Returns how many.
 */
export async function rotateKeys(file: string, fromMs: number, nowMs: number): Promise<number> {
  const content = checkedKeyFile(file, await readFile(file, 'utf8'))
  const pairs = pairsOf(content)
  const replacedLongAgo = (index: number): boolean =>
    (pairs[index + 1] === undefined ? fromMs : Date.parse(pairs[index + 1]?.from ?? '')) + livesMs < nowMs
  const kept = pairs.filter((_pair, index) => !replacedLongAgo(index))
  const fresh = { ...newPair(), from: new Date(fromMs).toISOString() }
  const [first, ...rotations] = [...kept, fresh]
  const { result_key, ticket_key } = first
  await replace(file, { ...content, result_key, ticket_key, rotations })
  return pairs.length - kept.length
}

/** Reads the key file; what is wrong with it is thrown by name, never with a key in the message. */
export async function readKeys(file: string): Promise<Keys> {
  const content = checkedKeyFile(file, await readFile(file, 'utf8'))
  const dated = <Key>(keyOf: (pair: KeyPair) => Key): Dated<Key>[] =>
    pairsOf(content).map((pair) => ({ key: keyOf(pair), fromMs: Date.parse(pair.from) }))
  return {
    resultKeys: dated(({ result_key }) => Buffer.from(result_key, 'base64')),
    tenantKeys: new Map(
      Object.entries(content.tenant_keys).map(([tenant, keys]) => [
        tenant,
        keys.map(({ id, key }) => ({ id, key: Buffer.from(key, 'base64') })),
      ]),
    ),
    ticketKeys: dated(({ ticket_key }) => privateKeyOf(file, ticket_key)),
  }
}

/** The key that new job hashes of this tenant are made with. */
export function currentTenantKey(keys: Keys, tenant: string): TenantKey {
  const newest = keys.tenantKeys.get(tenant)?.at(-1)
  if (newest === undefined) throw new Error(`the key file has no key for tenant ${tenant}`)
  return newest
}

/** The newest key whose time has come. */
export function keyInUse<Key>(keys: readonly Dated<Key>[], nowMs: number): Key {
  const used = keys.findLast(({ fromMs }) => fromMs <= nowMs) ?? keys[0]
  if (used === undefined) throw new Error('the key file has no key')
  return used.key
}

type KeyFile = z.infer<typeof KeyFile>
type KeyPair = { readonly from: string; readonly result_key: string; readonly ticket_key: string }

const always = new Date(0).toISOString()

function pairsOf({ result_key, ticket_key, rotations = [] }: KeyFile): KeyPair[] {
  return [{ from: always, result_key, ticket_key }, ...rotations]
}

function secret(): string {
  return randomBytes(secretBytes).toString('base64')
}

function newPair(): Omit<KeyPair, 'from'> {
  const { privateKey } = generateKeyPairSync('ed25519')
  return {
    result_key: secret(),
    ticket_key: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
  }
}

function newKeyFile(): KeyFile {
  return { ...newPair(), tenant_keys: {} }
}

/** Renamed into place: gateways that read it meanwhile find the old file or the new one, never half of one. */
async function replace(file: string, content: KeyFile): Promise<void> {
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, file)
}

function privateKeyOf(file: string, text: string): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' })
  } catch {
    throw new Error(`${file}: ticket_key is not an Ed25519 key`)
  }
}

/** What is wrong is said by name; JSON.parse would quote its input, and here the input is keys. */
function checkedKeyFile(file: string, text: string): KeyFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error(`${file} is not JSON`)
  }
  const parsed = KeyFile.safeParse(value)
  if (parsed.success) return parsed.data
  const first = parsed.error.issues[0]
  throw new Error(`${file}: ${first?.path.join('.') ?? ''} ${first?.message ?? 'not a key file'}`)
}
