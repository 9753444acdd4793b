import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { detectors } from '../../policy/detectors.ts'
import { detectorsSnapshot, scan } from '../../policy/scan.ts'

const card = ['4111', '1111', '1111', '1111'].join('')
const keyMarker = ['-----BEGIN ', 'RSA PRIVATE', ' KEY-----'].join('')
const textOf = (output: Uint8Array) => Buffer.from(output).toString('latin1')

describe.each(detectors.map((detector) => [detector.id, detector] as const))(
  'the detector %s',
  (id, detector) => {
    it.each(detector.examples.found().map((text, index) => [index, text] as const))(
      'finds its example %i',
      (_, text) => {
        const scanned = scan(Buffer.from(text))
        expect(scanned.findings).toEqual([
          { detector: id, class: detector.class, count: 1, action: detector.action },
        ])
        expect(scanned.action).toBe(detector.action)
      },
    )

    it.each(detector.examples.notFound().map((text, index) => [index, text] as const))(
      'leaves its counter-example %i alone',
      (_, text) => {
        expect(scan(Buffer.from(text))).toMatchObject({ action: 'pass', findings: [] })
      },
    )
  },
)

describe('the output scan', () => {
  it('passes clean bytes of any kind through untouched', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const scanned = scan(bytes)
        if (scanned.action === 'pass') expect(scanned.output).toBe(bytes)
      }),
    )
  })

  it('redacts a card number and nothing beside it, also between bytes that are not UTF-8', () => {
    const around = Buffer.from([0xff, 0x00, 0xfe])
    const scanned = scan(Buffer.concat([around, Buffer.from(` ${card} `), around]))
    expect(textOf(scanned.output)).toBe('\u00ff\u0000\u00fe [redacted:payment-card] \u00ff\u0000\u00fe')
  })

  it('leaves JSON that had a bare number valid JSON', () => {
    const scanned = scan(Buffer.from(`{"card":${card},"list":[${card}, 1]}`))
    expect(JSON.parse(textOf(scanned.output))).toEqual({
      card: '[redacted:payment-card]',
      list: ['[redacted:payment-card]', 1],
    })
    expect(scanned.findings).toMatchObject([{ count: 2 }])
  })

  it('finds a card that stands among other numbers', () => {
    const spaced = ['4111', '1111', '1111', '1111'].join(' ')
    for (const text of [`12 ${spaced} 99`, `${spaced} 12/27`, `${card} ${card}`, `1-${card}`]) {
      expect(textOf(scan(Buffer.from(text)).output), text).not.toMatch(/1111/)
    }
  })

  it('keeps back an output with a private key even if it also has a card', () => {
    const scanned = scan(Buffer.from(`${card}\n${keyMarker}\n`))
    expect(scanned.action).toBe('quarantine')
    expect(scanned.findings.map((finding) => finding.detector)).toEqual(['private-key-pem', 'payment-card'])
  })

  it('never puts what it found into a finding', () => {
    const scanned = scan(Buffer.from(`${card} ${keyMarker}`))
    const said = JSON.stringify(scanned.findings)
    expect(said).not.toContain('4111')
    expect(said).not.toContain('BEGIN')
  })

  it('finds nothing new in what it redacted', () => {
    const first = scan(Buffer.from(`a ${card}, b ${card}`))
    expect(scan(first.output)).toMatchObject({ action: 'pass', findings: [] })
  })

  it('has a snapshot that names this set of detectors', () => {
    expect(detectorsSnapshot).toMatch(/^[0-9a-f]{64}$/)
  })

  it('reads a view into a larger buffer, and only the view', () => {
    const whole = Buffer.from(`${card} clean ${card}`)
    const view = new Uint8Array(whole.buffer, whole.byteOffset + 17, 5)
    expect(scan(view)).toMatchObject({ action: 'pass' })
  })
})
