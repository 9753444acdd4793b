/** Tokens after `job.` at most; the server refuses longer subjects by closing the connection, so we look first. */
export const topicTokensMax = 16
/** Bytes after `job.` at most. */
export const topicBytesMax = 256

const tokenShape = /^[A-Za-z0-9_-]{1,64}$/
const topicShape = /^job(?:\.[A-Za-z0-9_-]{1,64}){1,16}$/
const prefix = 'job.'

/** What is wrong with a job's topic (the full `job.a.b`), or undefined. The answer never repeats the topic: it may be hostile. */
export function topicProblem(topic: string): string | undefined {
  // Nearly every topic is fine, and is known to be so in one look; what follows is only to say what is wrong.
  if (topic.length <= prefix.length + topicBytesMax && topicShape.test(topic)) return undefined
  if (!topic.startsWith(prefix)) return 'the topic must start with "job."'
  if (topic.length - prefix.length > topicBytesMax) {
    return `the topic is longer than ${topicBytesMax} bytes after "job."`
  }
  const tokens = topic.slice(prefix.length).split('.')
  if (tokens.length > topicTokensMax) return `the topic has more than ${topicTokensMax} tokens after "job."`
  for (const [index, token] of tokens.entries()) {
    if (token === '') return `token ${index + 1} after "job." is empty`
    if (!tokenShape.test(token)) {
      return `token ${index + 1} after "job." may have only A-Z, a-z, 0-9, "_" and "-", and at most 64 of them`
    }
  }
  return undefined
}

/** What is wrong with a pattern over topics, or undefined. `*` stands for one whole token, a last `>` for one or more. */
export function patternProblem(pattern: string): string | undefined {
  if (!pattern.startsWith(prefix)) return 'must start with "job."'
  if (pattern.length - prefix.length > topicBytesMax)
    return `is longer than ${topicBytesMax} bytes after "job."`
  const tokens = pattern.slice(prefix.length).split('.')
  if (tokens.length > topicTokensMax) return `has more than ${topicTokensMax} tokens after "job."`
  for (const [index, token] of tokens.entries()) {
    if (token === '') return 'has an empty token'
    if (token === '*') continue
    if (token === '>') {
      if (index < tokens.length - 1) return 'has ">" before the last token; ">" stands for all the rest'
      continue
    }
    if (/[*>]/.test(token))
      return `has "*" or ">" inside a token; a wildcard must be a whole token, between dots`
    if (!tokenShape.test(token)) {
      return 'has a token with characters other than A-Z, a-z, 0-9, "_" and "-", or more than 64 of them'
    }
  }
  return undefined
}

/** Does the NATS pattern cover the subject? `*` is exactly one token, `>` one or more at the end. Case-sensitive, literal. */
export function subjectMatches(pattern: string, subject: string): boolean {
  const wanted = pattern.split('.')
  const tokens = subject.split('.')
  for (const [index, part] of wanted.entries()) {
    if (part === '>') return tokens.length > index
    const token = tokens[index]
    if (token === undefined || (part !== '*' && part !== token)) return false
  }
  return wanted.length === tokens.length
}
