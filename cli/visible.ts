/**
 * Text of strangers made fit for a terminal: what could move the cursor, hide itself or turn the writing direction is
 * shown, not obeyed.
 */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}
