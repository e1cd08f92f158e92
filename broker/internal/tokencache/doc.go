// Package tokencache keeps access tokens in memory, found in the same time
// with one token as with ten thousand, without a lock and without allocating.
//
// # What hits
//
// A token is kept under the account, the environment, the tenant, the client,
// the scheme with the key it is bound to, whether the client announced
// continuous access evaluation, and the set of scopes it was asked with.
// Scopes compare without case, order and duplicates; openid, profile and
// offline_access do not count, and a scope without a resource belongs to
// Microsoft Graph.
//
// A set that was never asked for is also served by a token of the same
// resource, and alike in all else, whose granted scopes include it. A set with
// .default is served only by a token that was asked for with .default: what
// .default stands for may have grown since.
//
// # How
//
// A request is found by the exact bytes that the caller wrote. A new spelling
// has to be normalised once: a token remembers up to eight spellings of what it
// serves. Readers look in a map that is never modified; a writer, under a
// mutex, replaces a 256th of the whole with a changed copy, so that a reader
// sees the cache either before or after the change.
package tokencache
