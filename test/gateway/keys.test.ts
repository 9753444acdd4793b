import { createPublicKey, sign, verify } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createKeys, currentTenantKey, readKeys } from '../../gateway/keys.ts'
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
    const all = [keys.resultKey, ...['default', 'acme'].map((tenant) => currentTenantKey(keys, tenant).key)]
    expect(all.map((key) => key.length)).toEqual([32, 32, 32])
    expect(new Set(all.map(String)).size).toBe(3)
    const signature = sign(null, Buffer.from('a ticket'), keys.ticketKey)
    expect(verify(null, Buffer.from('a ticket'), createPublicKey(keys.ticketKey), signature)).toBe(true)
  })

  test('keeps what it has when a tenant is added', async () => {
    await createKeys(file, ['default'])
    const before = await readKeys(file)
    await createKeys(file, ['default', 'acme'])
    const after = await readKeys(file)
    expect(currentTenantKey(after, 'default')).toEqual(currentTenantKey(before, 'default'))
    expect(after.resultKey).toEqual(before.resultKey)
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

  test('has no key for a tenant it does not know', async () => {
    await createKeys(file, ['default'])
    const keys = await readKeys(file)
    expect(() => currentTenantKey(keys, 'acme')).toThrow('no key for tenant acme')
  })
})
