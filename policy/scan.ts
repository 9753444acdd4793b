import { findCardNumbers, type Span } from './card-numbers.ts'
import { detectors, type Detector, type DetectorAction } from './detectors.ts'
import { canonicalJson, sha256Hex } from './digest.ts'

/** How often a detector found something and what follows from it; never what it found. */
export type Finding = {
  readonly detector: string
  readonly class: string
  readonly count: number
  readonly action: DetectorAction
}

/** `output` is what may be released: the body itself, or the redacted one. When quarantined it is the body, to be kept back. */
export type Scan = {
  readonly action: 'pass' | DetectorAction
  readonly findings: readonly Finding[]
  readonly output: Uint8Array
}

/** Hash of the detectors' data and of this scanner's version: the same snapshot finds the same things. */
export const detectorsSnapshot: string = sha256Hex(
  canonicalJson({ scanner: 1, detectors: detectors.map(dataOf) }),
)

function dataOf({ id, class: kind, action, recognition }: Detector): unknown {
  return { id, class: kind, action, recognition }
}

/** Looks through a worker's output, whatever bytes it is. Linear in its length, and pure. */
export function scan(body: Uint8Array): Scan {
  // One character per byte: nothing is lost or replaced, whatever the encoding, and offsets are byte offsets.
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
  const findings: Finding[] = []
  const redactions: { span: Span; detector: Detector }[] = []
  for (const detector of detectors) {
    const spans = find(detector, text)
    if (spans.length === 0) continue
    const { id, class: kind, action } = detector
    findings.push({ detector: id, class: kind, count: spans.length, action })
    if (action === 'redact') redactions.push(...spans.map((span) => ({ span, detector })))
  }
  if (findings.some((finding) => finding.action === 'quarantine'))
    return { action: 'quarantine', findings, output: body }
  if (redactions.length === 0) return { action: 'pass', findings, output: body }
  return { action: 'redact', findings, output: redact(text, redactions) }
}

function find(detector: Detector, text: string): Span[] {
  const { recognition } = detector
  switch (recognition.kind) {
    case 'key-marker':
      return findMarkers(text, recognition.dashes, recognition.labels)
    case 'card-number':
      return findCardNumbers(text, recognition.issuers)
  }
}

/** The opening marker alone is enough: a key whose end was cut off is still a key, and line breaks may be escaped. */
function findMarkers(text: string, dashes: string, labels: readonly string[]): Span[] {
  const opening = `${dashes}BEGIN `
  const spans: Span[] = []
  for (let start = text.indexOf(opening); start >= 0; start = text.indexOf(opening, start + 1)) {
    const from = start + opening.length
    const label = labels.find((candidate) => text.startsWith(`${candidate}${dashes}`, from))
    if (label !== undefined) spans.push({ start, end: from + label.length + dashes.length })
  }
  return spans
}

function redact(text: string, redactions: readonly { span: Span; detector: Detector }[]): Uint8Array {
  const parts: string[] = []
  let done = 0
  for (const { span, detector } of redactions.toSorted((a, b) => a.span.start - b.span.start)) {
    const mark = `[redacted:${detector.id}]`
    parts.push(text.slice(done, span.start), isJsonNumber(text, span) ? `"${mark}"` : mark)
    done = span.end
  }
  parts.push(text.slice(done))
  return Buffer.from(parts.join(''), 'latin1')
}

/** A bare number in JSON becomes a string, so that an output that was JSON stays JSON. */
function isJsonNumber(text: string, { start, end }: Span): boolean {
  return (
    /[:[,]\s{0,64}$/.test(text.slice(Math.max(0, start - 65), start)) &&
    /^\s{0,64}[,}\]]/.test(text.slice(end, end + 65))
  )
}
