//go:build !windows

package tpm

// DeviceOf is [Default] with the paths of other devices.
var DeviceOf = deviceOf
