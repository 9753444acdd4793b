import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jobBytesMax, parseJob } from '../../policy/job.ts'

const me = { tenant: 'default', agent: 'demo' }
const topic = 'job.mcp-bridge.read.get_ticket'
const parse = (body: string | Uint8Array, on = topic) => parseJob(me, on, Buffer.from(body))
const refusalOf = (body: unknown, on?: string) => {
  const parsed = parse(typeof body === 'string' ? body : JSON.stringify(body), on)
  if (parsed.ok) throw new Error('the job was accepted')
  return parsed.refusal
}

describe('a job', () => {
  it('is what the body says within what the server authenticated', () => {
    const parsed = parse(
      JSON.stringify({
        topic,
        tenant_id: 'default',
        risk_tags: ['prod', 'prod', 'x'],
        labels: { 'mcp.action': 'read', constructor: 'y' },
        capability: 'tickets.read',
        requires: ['net'],
        payload: { a: [1] },
        deadline: '2030-01-31T13:00:00.5+01:00',
        trace_id: 'abc:1',
      }),
    )
    expect(parsed).toEqual({
      ok: true,
      job: {
        topic,
        tenant: 'default',
        agent: 'demo',
        riskTags: ['prod', 'x'],
        labels: new Map([
          ['mcp.action', 'read'],
          ['constructor', 'y'],
        ]),
        capability: 'tickets.read',
        requires: ['net'],
        payload: { a: [1] },
        deadlineMs: Date.UTC(2030, 0, 31, 12, 0, 0, 500),
        traceId: 'abc:1',
        bytes: expect.any(Number) as number,
      },
    })
  })

  it('may be an empty object', () => {
    expect(parse('{}')).toMatchObject({ ok: true, job: { riskTags: [], bytes: 2 } })
  })
})

describe('a body that is not a job is refused with a reason', () => {
  it.each([
    ['no JSON', '{', 'not acceptable JSON'],
    ['a list', [], 'one JSON object'],
    ['null', 'null', 'one JSON object'],
    ['a misspelt key', { risk_tag: ['prod'] }, 'did you mean "risk_tags"?'],
    ['a key in other case', { Topic: topic }, 'did you mean "topic"?'],
    ['a key twice', '{"risk_tags":["a"],"risk_tags":[]}', 'stands twice'],
    ['__proto__ at the top', '{"__proto__":{}}', 'unknown key "__proto__"'],
    ['a __proto__ label', '{"labels":{"__proto__":"x"}}', 'the label key "__proto__" is not allowed'],
    ['labels as a list', { labels: ['a'] }, 'object of strings'],
    ['a label that is a number', { labels: { a: 1 } }, 'the value of label "a" must be a string'],
    ['a label key of 65 bytes', { labels: { ['a'.repeat(65)]: '' } }, 'key longer than 64 bytes'],
    ['a label value of 257 bytes', { labels: { a: 'é'.repeat(129) } }, 'longer than 256 bytes'],
    [
      '65 labels',
      { labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ''])) },
      'more than 64',
    ],
    ['tags that are no list', { risk_tags: 'prod' }, 'list of strings'],
    ['a tag that is null', { risk_tags: [null] }, 'entry 1 must be a string'],
    ['an empty tag', { risk_tags: ['a', ''] }, 'entry 2 is empty'],
    ['a tag of 65 bytes', { risk_tags: ['é'.repeat(33)] }, 'longer than 64 bytes'],
    ['33 tags', { risk_tags: Array.from({ length: 33 }, (_, i) => `t${i}`) }, 'more than 32'],
    ['a control character in a tag', { risk_tags: ['a\u0000'] }, 'control character'],
    ['DEL in a tag', { risk_tags: ['a\u007f'] }, 'control character'],
    ['a C1 control character in a label key', { labels: { 'a\u009f': 'x' } }, 'control character'],
    [
      'labels and tags beyond 16 KiB',
      { labels: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, 'x'.repeat(256)])) },
      'together are larger than 16384',
    ],
    ['a deadline without a zone', { deadline: '2030-01-31T12:00:00' }, 'RFC 3339'],
    ['a day that does not exist', { deadline: '2030-02-30T12:00:00Z' }, 'RFC 3339'],
    ['a deadline as a number', { deadline: 5 }, 'RFC 3339'],
    ['a trace id with a space', { trace_id: 'a b' }, '"trace_id" must be'],
    ['an empty capability', { capability: '' }, '"capability" must be a string'],
    ['requires as text', { requires: 'net' }, '"requires" must be a list'],
    ['a requirement that is a number', { requires: [1] }, '"requires[0]" must be a string'],
    ['a topic that is a number', { topic: 1 }, '"topic" must be a string'],
  ])('%s', (_, body, because) => {
    const refusal = refusalOf(body)
    expect(refusal.ruleId).toBe('sluice.invalid-job')
    expect(refusal.reason).toContain(because)
  })

  it('claims another tenant or topic than the server authenticated', () => {
    expect(refusalOf({ tenant_id: 'other', trace_id: 't1' })).toEqual({
      ruleId: 'sluice.identity-mismatch',
      reason: '"tenant_id" in the body is not the tenant of the publisher',
      traceId: 't1',
    })
    expect(refusalOf({ topic: 'job.other' }).ruleId).toBe('sluice.identity-mismatch')
    expect(refusalOf({ topic: topic.slice(4) }).reason).toContain('write it with "job." in front')
  })

  it('stands on a topic that no pattern could mean', () => {
    expect(refusalOf({}, 'job.a.*').ruleId).toBe('sluice.invalid-job')
    expect(refusalOf({}, `job${'.a'.repeat(20_000)}`).reason.length).toBeLessThan(120)
  })

  it('is larger than the limit, and is not even read', () => {
    expect(parse(Buffer.alloc(jobBytesMax + 1, 0x5b))).toMatchObject({
      ok: false,
      refusal: { reason: `the job is larger than ${jobBytesMax} bytes` },
    })
    const exact = `{"payload":"${'x'.repeat(jobBytesMax - 14)}"}`
    expect(parse(exact)).toMatchObject({ ok: true, job: { bytes: jobBytesMax } })
  })
})

describe('whatever an agent sends', () => {
  it('is answered without throwing, and never with what the payload says', () => {
    const hush = 'sw0rdfish'
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .dictionary(
          fc.constantFrom(
            'topic',
            'tenant_id',
            'risk_tags',
            'labels',
            'capability',
            'deadline',
            'trace_id',
            '__proto__',
            'x',
          ),
          fc.jsonValue(),
        )
        .map((fields) => Buffer.from(JSON.stringify({ payload: { secret: hush }, ...fields }))),
    )
    fc.assert(
      fc.property(anything, (body) => {
        const parsed = parseJob(me, topic, body)
        if (parsed.ok) return
        expect(parsed.refusal.reason.length).toBeGreaterThan(0)
        expect(parsed.refusal.reason.length).toBeLessThan(400)
        expect(parsed.refusal.reason).not.toContain(hush)
      }),
      { numRuns: 2_000 },
    )
  })
})
