/** What to do with an output in which something was found: take it out, or keep the whole output back. */
export type DetectorAction = 'redact' | 'quarantine'

/** How a detector recognises: by a marker that begins a private key, or by digits that make a payment card number. */
type Recognition =
  | { readonly kind: 'key-marker'; readonly dashes: string; readonly labels: readonly string[] }
  | { readonly kind: 'card-number'; readonly issuers: readonly CardIssuer[] }

/** Prefixes as inclusive ranges of the leading digits, and the lengths an issuer uses. */
export type CardIssuer = {
  readonly name: string
  readonly prefixes: readonly (readonly [number, number])[]
  readonly lengths: readonly number[]
}

/** One kind of secret, as data, with texts that it must and must not find (built when asked for: no secret stands in this file). */
export type Detector = {
  readonly id: string
  readonly class: 'secret' | 'personal'
  readonly action: DetectorAction
  readonly recognition: Recognition
  readonly examples: { readonly found: () => readonly string[]; readonly notFound: () => readonly string[] }
}

const marker = (verb: 'BEGIN' | 'END', label: string) => ['-----', verb, ' ', label, '-----'].join('')
const filler = 'QUJDREVG'.repeat(8)

const pemLabels = [
  'PRIVATE KEY',
  'ENCRYPTED PRIVATE KEY',
  'RSA PRIVATE KEY',
  'DSA PRIVATE KEY',
  'EC PRIVATE KEY',
  'OPENSSH PRIVATE KEY',
  'SSH2 ENCRYPTED PRIVATE KEY',
  'ANY PRIVATE KEY',
  'PGP PRIVATE KEY BLOCK',
]

export const detectors: readonly Detector[] = [
  {
    id: 'private-key-pem',
    class: 'secret',
    action: 'quarantine',
    recognition: { kind: 'key-marker', dashes: '-----', labels: pemLabels },
    examples: {
      found: () => [
        `${marker('BEGIN', 'PRIVATE KEY')}\n${filler}\n${marker('END', 'PRIVATE KEY')}\n`,
        JSON.stringify({
          key: `${marker('BEGIN', 'RSA PRIVATE KEY')}\n${filler}\n${marker('END', 'RSA PRIVATE KEY')}`,
        }),
        `cut off: ${marker('BEGIN', 'OPENSSH PRIVATE KEY')}\r\n${filler}`,
        `${marker('BEGIN', 'PGP PRIVATE KEY BLOCK')}\n\n${filler}`,
      ],
      notFound: () => [
        `${marker('BEGIN', 'CERTIFICATE')}\n${filler}\n${marker('END', 'CERTIFICATE')}`,
        `${marker('BEGIN', 'PUBLIC KEY')}\n${filler}`,
        'a PRIVATE KEY must never leave the vault',
        marker('END', 'PRIVATE KEY'),
      ],
    },
  },
  {
    id: 'payment-card',
    class: 'personal',
    action: 'redact',
    recognition: {
      kind: 'card-number',
      issuers: [
        { name: 'visa', prefixes: [[4, 4]], lengths: [13, 16, 19] },
        {
          name: 'mastercard',
          prefixes: [
            [51, 55],
            [2221, 2720],
          ],
          lengths: [16],
        },
        {
          name: 'amex',
          prefixes: [
            [34, 34],
            [37, 37],
          ],
          lengths: [15],
        },
        {
          name: 'discover',
          prefixes: [
            [6011, 6011],
            [644, 649],
            [65, 65],
          ],
          lengths: [16, 17, 18, 19],
        },
        {
          name: 'diners',
          prefixes: [
            [300, 305],
            [3095, 3095],
            [36, 36],
            [38, 39],
          ],
          lengths: [14, 15, 16, 17, 18, 19],
        },
        { name: 'jcb', prefixes: [[3528, 3589]], lengths: [16, 17, 18, 19] },
        {
          name: 'unionpay',
          prefixes: [
            [62, 62],
            [81, 81],
          ],
          lengths: [16, 17, 18, 19],
        },
      ],
    },
    examples: {
      found: () => [
        ['card ', '4111', '1111', '1111', '1111', ' on file'].join(''),
        ['4111', '1111', '1111', '1111'].join(' '),
        ['5500', '0055', '5555', '5559'].join('-'),
        JSON.stringify({ note: ['a\n', '3782', '822463', '10005'].join('') }),
      ],
      notFound: () => [
        // The last digit is wrong.
        ['4111', '1111', '1111', '1112'].join(''),
        // Right by its check digit, but nobody issues such numbers.
        ['9111', '1111', '1111', '1111'].join(''),
        // Part of a longer number, of a hash, of a fraction.
        ['4111', '1111', '1111', '1111', '00000'].join(''),
        ['ab4111', '1111', '1111', '1111', 'cd'].join(''),
        ['0.4111', '1111', '1111', '1111'].join(''),
      ],
    },
  },
]
