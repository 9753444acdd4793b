import { describe, expect, test } from 'vitest'
import { BusError } from '../../gateway/bus/message.ts'
import { createLog } from '../../gateway/log.ts'

/** A log and the lines it has written. */
function logged(): { log: ReturnType<typeof createLog>; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const destination = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
  }
  return { log: createLog('info', 'gateway-1', destination), lines }
}

describe('the log', () => {
  test('is one JSON line per event, with the level as a word and the name of the gateway', () => {
    const { log, lines } = logged()
    log.info({ jobId: 'default.m1', rule: 'r' }, 'job denied')
    log.debug('not at this level')
    expect(lines).toMatchObject([
      {
        level: 'info',
        name: 'gateway-1',
        jobId: 'default.m1',
        rule: 'r',
        msg: 'job denied',
        time: expect.stringMatching(/T.*Z$/) as string,
      },
    ])
  })

  test('withholds what nobody should have logged', () => {
    const { log, lines } = logged()
    const planted = ['p1', 'p2', 'p3', 'p4'].map((part) => ['planted', part].join('-'))
    log.info(
      {
        body: planted[0],
        nats: { password: planted[1] },
        payload: { x: planted[2] },
        job: { note: planted[3] },
      },
      'x',
    )
    expect(JSON.stringify(lines)).not.toContain('planted')
    expect(lines[0]).toMatchObject({ body: '[withheld]', nats: { password: '[withheld]' } })
  })

  test('an error keeps its name, code, words and place', () => {
    const { log, lines } = logged()
    log.error({ err: new BusError('the stream is away', 503) }, 'x')
    expect(lines[0]).toMatchObject({ err: { type: 'BusError', message: 'the stream is away', code: 503 } })
    const { err } = lines[0] as { err: { stack: string[] } }
    expect(err.stack[0]).toMatch(/^ {4}at .*log\.test/)
  })

  test('an error of a parser loses its words, because they quote what could not be read', () => {
    const { log, lines } = logged()
    const secret = ['planted', 'payload'].join('-')
    try {
      JSON.parse(secret)
    } catch (err) {
      log.error({ err }, 'x')
    }
    expect(lines[0]).toMatchObject({ err: { type: 'SyntaxError', message: 'not valid' } })
    expect(JSON.stringify(lines)).not.toContain('planted')
  })

  test('words without an end are cut, and what is no error says only what it is', () => {
    const { log, lines } = logged()
    log.error({ err: new Error('x'.repeat(10_000)) }, 'x')
    log.error({ err: 'thrown text' }, 'x')
    expect(JSON.stringify(lines[0]).length).toBeLessThan(3_000)
    expect(lines[1]).toMatchObject({ err: { type: 'string' } })
  })
})
