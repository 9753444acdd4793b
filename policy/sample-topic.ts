import { topicBytesMax, topicTokensMax } from './topic.ts'

/**
 * The pattern of the topics that both cover, or undefined if there is none. Two patterns never need more than one: position
 * by position the meaning of `*`, a token, and the rest is either one of them or nothing.
 */
export function meetPatterns(a: string, b: string): string | undefined {
  const first = a.split('.')
  const second = b.split('.')
  const met: string[] = []
  for (let at = 0; ; at++) {
    const one = first[at]
    const other = second[at]
    if (one === undefined && other === undefined) return met.join('.')
    if (one === undefined || other === undefined) return undefined
    if (one === '>') return [...met, ...second.slice(at)].join('.')
    if (other === '>') return [...met, ...first.slice(at)].join('.')
    if (one !== '*' && other !== '*' && one !== other) return undefined
    met.push(one === '*' ? other : one)
  }
}

/**
 * A topic that the pattern covers and none of `excluded` does, or undefined if there is none. A token that no pattern names is
 * always the best choice for a wildcard, because the fewest patterns cover it; so only the length has to be tried.
 */
export function sampleTopic(pattern: string, excluded: readonly string[]): string | undefined {
  const tokens = pattern.split('.')
  const fresh = freshToken(excluded)
  const isOpen = tokens.at(-1) === '>'
  const fixed = (isOpen ? tokens.slice(0, -1) : tokens).map((token) => (token === '*' ? fresh : token))
  const others = excluded.map((one) => one.split('.'))
  for (let more = isOpen ? 1 : 0; more <= (isOpen ? topicTokensMax + 1 - fixed.length : 0); more++) {
    const topic = [...fixed, ...Array.from({ length: more }, () => fresh)]
    if (topic.join('.').length > topicBytesMax) continue
    if (!others.some((other) => covers(other, topic))) return topic.join('.')
  }
  return undefined
}

function freshToken(patterns: readonly string[]): string {
  const used = new Set(patterns.flatMap((pattern) => pattern.split('.')))
  for (let count = 0; ; count++) {
    const token = count === 0 ? 'x' : `x${count}`
    if (!used.has(token)) return token
  }
}

function covers(pattern: readonly string[], topic: readonly string[]): boolean {
  for (const [index, part] of pattern.entries()) {
    if (part === '>') return topic.length > index
    if (topic[index] === undefined || (part !== '*' && part !== topic[index])) return false
  }
  return pattern.length === topic.length
}
