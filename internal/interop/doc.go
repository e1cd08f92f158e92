// Package interop runs clients that nobody here wrote against the emulated
// tenant, unmodified and through its proxy: MSAL for Go, Python and Node, the
// roadtx of ROADtools, go-oidc, curl with OpenSSL, and browsers. It is a module
// of its own, so that nobody who imports the broker gets their dependencies.
//
//	make interop
//
// installs the clients from their registries into .tools and node_modules here,
// runs them and prints the table of README.md.
package interop
