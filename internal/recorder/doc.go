// Package recorder turns a run against a real tenant and a real TPM into files that
// its owner can read and send to us: the requests and the replies, without names and
// secrets.
//
// An allow-list says what is kept: the words of the protocol (words.txt: paths,
// parameters, values such as "invalid_grant", ids of Microsoft's own apps), numbers
// in fields whose meaning is known, booleans, sizes, status codes, the numbers of
// AADSTS codes, and the names of fields, claims and headers. Any other text becomes a
// placeholder that says what kind of thing was there. The same text becomes the same
// placeholder throughout a run:
//
//	alice@contoso.com      <user 1>@<domain 1>
//	contoso.com            <domain 1>
//	a tenant's id          <guid 2>
//	a refresh token        <opaque 3, 1203 long>
//	a person's name        <text 4>
//
// Of an unknown field, a recording therefore has the name and the kind of value. JWTs,
// JWEs, base64url-encoded JSON and JSON in strings are opened and recorded by the same
// rules.
//
// A recording is a directory: one numbered file for each request, steps.json with
// what the program did and how it ended, and tpm.jsonl with a line for each TPM
// command: its name, sizes, response code and time. [Replay] serves the recorded
// replies to a program, and [Compare] says how two recordings differ.
package recorder
