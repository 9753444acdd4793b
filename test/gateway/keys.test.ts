import { createPublicKey, sign, verify } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createKeys, currentTenantKey, keyInUse, readKeys, rotateKeys } from '../../gateway/config/keys.ts'
import { scratchFolder } from '../helpers/scratch.ts'

describe('the key file', () => {
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  let file: string
  beforeEach(async () => {
    folder = await scratchFolder()
    file = join(folder.path, 'keys.json')
  })
  afterEach(() => folder.remove())

  test('is for its owner only and has a key of its own for every purpose and tenant', async () => {
    await createKeys(file, ['default', 'acme'])
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const keys = await readKeys(file)
    const [resultKey] = keys.resultKeys
    const all = [resultKey?.key, ...['default', 'acme'].map((tenant) => currentTenantKey(keys, tenant).key)]
    expect(all.map((key) => key?.length)).toEqual([32, 32, 32])
    expect(new Set(all.map(String)).size).toBe(3)
    const ticketKey = keyInUse(keys.ticketKeys, Date.now())
    const signature = sign(null, Buffer.from('a ticket'), ticketKey)
    expect(verify(null, Buffer.from('a ticket'), createPublicKey(ticketKey), signature)).toBe(true)
  })

  test('keeps what it has when a tenant is added', async () => {
    await createKeys(file, ['default'])
    const before = await readKeys(file)
    await createKeys(file, ['default', 'acme'])
    const after = await readKeys(file)
    expect(currentTenantKey(after, 'default')).toEqual(currentTenantKey(before, 'default'))
    expect(after.resultKeys).toEqual(before.resultKeys)
    expect(currentTenantKey(after, 'acme').key).toHaveLength(32)
  })

  test('gives the newest key of a tenant as the current one', async () => {
    await createKeys(file, ['default'])
    const content = JSON.parse(await readFile(file, 'utf8')) as { tenant_keys: Record<string, unknown[]> }
    content.tenant_keys['default']?.push({ id: '2', key: Buffer.alloc(32, 7).toString('base64') })
    await writeFile(file, JSON.stringify(content))
    expect(currentTenantKey(await readKeys(file), 'default')).toEqual({ id: '2', key: Buffer.alloc(32, 7) })
  })

  test('is refused by name, and without a word of what stands in it, when it is damaged', async () => {
    const planted = ['not', 'a', 'key'].join('-')
    await writeFile(file, `{"result_key": "${planted}", "tenant_keys": {}, "ticket_key": "x"}`)
    await expect(readKeys(file)).rejects.toThrow(/keys\.json: result_key/)
    await expect(readKeys(file)).rejects.not.toThrow(planted)
    await writeFile(file, `{"result_key": ${planted}`)
    await expect(readKeys(file)).rejects.toThrow('is not JSON')
    await expect(readKeys(file)).rejects.not.toThrow(planted)
  })

  test('has new keys beside the old ones after a rotation, used from their time on; what nothing was made with any more goes', async () => {
    await createKeys(file, ['default'])
    const before = await readKeys(file)
    const startMs = Date.parse('2026-01-01T00:00:00Z')
    const hourMs = 3_600_000
    await rotateKeys(file, startMs + 60_000, startMs)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const once = await readKeys(file)
    expect(once.tenantKeys).toEqual(before.tenantKeys)
    expect(keyInUse(once.resultKeys, startMs)).toEqual(before.resultKeys[0]?.key)
    expect(keyInUse(once.resultKeys, startMs + 60_000)).not.toEqual(before.resultKeys[0]?.key)
    const [, secondTicketKey] = once.ticketKeys

    // An hour later what was signed with the first key may still run; three hours later nothing does.
    expect(await rotateKeys(file, startMs + hourMs, startMs + hourMs)).toBe(0)
    expect((await readKeys(file)).ticketKeys).toHaveLength(3)
    expect(await rotateKeys(file, startMs + 4 * hourMs, startMs + 4 * hourMs)).toBe(2)
    const { resultKeys, ticketKeys } = await readKeys(file)
    expect([resultKeys.length, ticketKeys.length]).toEqual([2, 2])
    expect(ticketKeys[0]?.key.equals(secondTicketKey?.key as never)).toBe(false)
    expect(keyInUse(resultKeys, startMs)).toEqual(resultKeys[0]?.key)
  })

  test('has no key for a tenant it does not know', async () => {
    await createKeys(file, ['default'])
    const keys = await readKeys(file)
    expect(() => currentTenantKey(keys, 'acme')).toThrow('no key for tenant acme')
  })
})
