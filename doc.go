// Package clawwatch is the root of the module and holds no code: the command is
// in cmd/clawwatch, and ARCHITECTURE.md says where everything else is.
package clawwatch
