import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectBus, type Bus } from '../../gateway/bus/bus.ts'
import { parkedFrom } from '../../gateway/queries/parked.ts'
import { pendingSubject } from '../../gateway/subjects.ts'
import { jobIdFromMessageId } from '../../policy/job-id.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const stored = 160

let nats: TestNats
let bus: Bus
const open = new Map<number, string>()

beforeAll(async () => {
  nats = await startTestNats()
  bus = await connectBus({
    url: nats.url,
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
    name: 'parked.test',
  })
  for (let n = 1; n <= stored; n++) {
    const job = jobIdFromMessageId(n % 3 === 0 ? 'acme' : 'default', 'demo', `m${n}`)
    const appended = await bus.append(pendingSubject(job), `body ${n}`, { expect: 0 })
    if (appended.type === 'stored') open.set(appended.sequence, job)
  }
})
afterAll(async () => {
  await bus.close()
  await nats.stop()
})

/** Walks all pages from the first. */
async function walk(
  most: { copies: number; bytes: number },
  tenants: 'all' | string[] = 'all',
): Promise<[number, string][]> {
  const found: [number, string][] = []
  for (let next: number | undefined = 1; next !== undefined;) {
    const page = await parkedFrom(bus, next, most, tenants)
    expect(page.copies.length).toBeLessThanOrEqual(most.copies)
    for (const { sequence, job, body } of page.copies) {
      expect(Buffer.from(body).toString()).toBe(`body ${sequence}`)
      found.push([sequence, job])
    }
    next = page.next
  }
  return found
}

test('pages of any size hold every parked copy once and in order, however many gaps the resolved ones leave', async () => {
  expect(open.size).toBe(stored)
  // Each round takes more away: first a few, at the end nearly all, in runs and alone.
  const rounds = fc.sample(
    fc.uniqueArray(fc.integer({ min: 1, max: stored }), { minLength: 20, maxLength: 120 }),
    6,
  )
  const pages = [
    { copies: 1_000, bytes: 1_000_000 },
    { copies: 37, bytes: 1_000_000 },
    { copies: 1_000, bytes: 256 },
  ] as const
  const all = [[], ...rounds, [1, 2, 3], Array.from({ length: 70 }, (_, n) => 50 + n), [stored]]
  for (const [round, taken] of all.entries()) {
    for (const sequence of taken) if (open.delete(sequence)) await bus.remove('APPROVALS', sequence)
    const page = pages[round % 3] ?? pages[0]
    expect(await walk(page)).toEqual([...open])
    for (const tenants of [['acme'], ['default', 'none'], ['acme', 'default'], ['none'], []]) {
      const theirs = [...open].filter(([, job]) => tenants.includes(job.split('.')[0] ?? ''))
      expect([tenants, await walk(page, tenants)]).toEqual([tenants, theirs])
    }
  }
  expect(open.size).toBeLessThan(stored / 2)
})

test('behind the last copy there is nothing', async () => {
  expect(await parkedFrom(bus, stored + 5, { copies: 10, bytes: 1_000 })).toEqual({
    copies: [],
    next: undefined,
  })
})
