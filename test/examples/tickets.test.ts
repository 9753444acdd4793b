import { mkdir, mkdtemp, readdir, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { changeTickets, readTickets } from '../../examples/tickets.ts'

async function newFile(): Promise<string> {
  return join(await mkdtemp(join(tmpdir(), 'sluice-tickets-')), 'tickets.json')
}

test('a job changes a ticket once, however many attempts it takes', async () => {
  const file = await newFile()
  for (let attempt = 1; attempt <= 3; attempt++)
    await changeTickets(file, 'default.job-1', 'T-1', (ticket) => ticket.comments.push('once'))
  expect((await readTickets(file)).tickets['T-1']?.comments).toEqual(['once'])
})

test('changes at the same moment are all kept', async () => {
  const file = await newFile()
  const jobs = Array.from({ length: 20 }, (_, index) => `default.job-${index}`)
  await Promise.all(jobs.map((job) => changeTickets(file, job, 'T-1', (ticket) => ticket.comments.push(job))))
  expect((await readTickets(file)).tickets['T-1']?.comments.toSorted()).toEqual(jobs.toSorted())
})

test('a change leaves the file and nothing beside it', async () => {
  const file = await newFile()
  await changeTickets(file, 'default.job-1', 'T-1', (ticket) => void (ticket.status = 'closed'))
  expect(await readdir(join(file, '..'))).toEqual(['tickets.json'])
})

test('the lock of a worker that died is taken off', async () => {
  const file = await newFile()
  await mkdir(`${file}.lock`)
  const long = new Date(Date.now() - 60_000)
  await utimes(`${file}.lock`, long, long)
  const changed = await changeTickets(
    file,
    'default.job-1',
    'T-1',
    (ticket) => void (ticket.status = 'closed'),
  )
  expect(changed?.status).toBe('closed')
})
