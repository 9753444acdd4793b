import type { PolicySource } from '../../policy/load.ts'

/**
 * A policy's files as the one text under which it is kept: that of its only file, or the JSON list of all of their texts. No
 * policy file is a list, so the two cannot be confused.
 */
export function keptText(sources: readonly PolicySource[]): string {
  const texts = sources.map(({ text }) => text)
  return texts.length === 1 ? (texts[0] ?? '') : JSON.stringify(texts)
}

/** The files of a text that was kept. Throws on a list that is none of ours: nobody but a gateway writes there. */
export function sourcesOf(kept: string): readonly PolicySource[] {
  if (!kept.startsWith('[')) return [{ text: kept }]
  return (JSON.parse(kept) as string[]).map((text) => ({ text }))
}
