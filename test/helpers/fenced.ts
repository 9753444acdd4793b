import { readFileSync } from 'node:fs'

/** A fenced block of a Markdown file: what it says it is, where it stands, and its text. */
export type Fenced = {
  readonly file: string
  readonly line: number
  readonly language: string
  readonly text: string
}

/** All fenced blocks of a file, in order. */
export function fencedBlocks(file: string): Fenced[] {
  const blocks: Fenced[] = []
  let open: { line: number; language: string; lines: string[] } | undefined
  for (const [index, text] of readFileSync(file, 'utf8').split('\n').entries()) {
    const fence = /^```(.*)$/.exec(text)
    if (fence === null) open?.lines.push(text)
    else if (open === undefined) open = { line: index + 1, language: fence[1] ?? '', lines: [] }
    else {
      blocks.push({ file, line: open.line, language: open.language, text: `${open.lines.join('\n')}\n` })
      open = undefined
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.line}: the block does not end`)
  return blocks
}
