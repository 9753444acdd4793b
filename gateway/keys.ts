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
})

/** What all gateways share, because a redelivery may reach another one and must make the same bytes again. */
export type Keys = {
  /** HMAC key of the result tokens. */
  resultKey: Buffer
  /** Per tenant, oldest first; the last is current. A key that is taken out makes its job hashes unguessable for ever. */
  tenantKeys: Map<string, TenantKey[]>
  /** Ed25519, signs the tickets on dispatched messages. */
  ticketKey: KeyObject
}

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
  // Renamed into place: gateways that read it meanwhile find the old file or the new one, never half of one.
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, file)
}

/** Reads the key file; what is wrong with it is thrown by name, never with a key in the message. */
export async function readKeys(file: string): Promise<Keys> {
  const { result_key, tenant_keys, ticket_key } = checkedKeyFile(file, await readFile(file, 'utf8'))
  return {
    resultKey: Buffer.from(result_key, 'base64'),
    tenantKeys: new Map(
      Object.entries(tenant_keys).map(([tenant, keys]) => [
        tenant,
        keys.map(({ id, key }) => ({ id, key: Buffer.from(key, 'base64') })),
      ]),
    ),
    ticketKey: createPrivateKey({ key: Buffer.from(ticket_key, 'base64'), format: 'der', type: 'pkcs8' }),
  }
}

/** The key that new job hashes of this tenant are made with. */
export function currentTenantKey(keys: Keys, tenant: string): TenantKey {
  const newest = keys.tenantKeys.get(tenant)?.at(-1)
  if (newest === undefined) throw new Error(`the key file has no key for tenant ${tenant}`)
  return newest
}

function secret(): string {
  return randomBytes(secretBytes).toString('base64')
}

type KeyFile = z.infer<typeof KeyFile>

function newKeyFile(): KeyFile {
  const { privateKey } = generateKeyPairSync('ed25519')
  return {
    result_key: secret(),
    tenant_keys: {},
    ticket_key: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
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
