import type { Route } from './route.ts'
import type { Io } from '../io.ts'

const maxAgeSec = 60

/**
 * The public keys that tickets are verified with, as a JSON Web Key Set (RFC 7517, RFC 8037). Open to everybody, as they are
 * for everybody: they stand in AUDIT as well, where a worker's owner can check what this door says.
 */
export function keyRoutes(io: Io): readonly Route[] {
  return [
    {
      path: '/api/v1/keys',
      methods: {
        GET: (c) => {
          c.header('Cache-Control', `public, max-age=${maxAgeSec}`)
          return c.json({
            keys: io.tickets.publicKeys().map(({ id, from, publicKey }) => ({
              ...publicKey.export({ format: 'jwk' }),
              kid: id,
              use: 'sig',
              alg: 'EdDSA',
              from,
            })),
          })
        },
      },
    },
  ]
}
