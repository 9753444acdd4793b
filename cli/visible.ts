/**
 * Text of strangers made fit for a terminal: what could move the cursor, hide itself, pass for an ordinary space or turn
 * the writing direction is shown, not obeyed.
 */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}
