// Package ctaphid carries messages to a security key and back over USB HID
// reports (CTAP 2.1, 11.2).
package ctaphid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
)

// Sizes in bytes (CTAP 2.1, 11.2.4).
const (
	// ReportSize is the size of a report in both directions.
	ReportSize = 64
	// MaxMessage is the longest message: one initial and 128 continuation packets.
	MaxMessage = initialData + maxContinuations*continuationData

	initialData      = ReportSize - 7
	continuationData = ReportSize - 5
	maxContinuations = 128
)

// Commands (11.2.9).
const (
	CommandInit = 0x06
	CommandCBOR = 0x10

	commandCancel    = 0x11
	commandKeepAlive = 0x3b
	commandError     = 0x3f

	initialBit = 0x80
)

// broadcast is the channel on which channels are handed out.
const broadcast = 0xffffffff

// Statuses of a KEEPALIVE (11.2.9.1.7).
const (
	StatusProcessing = 1
	StatusTouch      = 2 // the key waits for the user
)

// CapabilityCBOR is the capability of a key that speaks CTAP2 (11.2.9.1.3).
const CapabilityCBOR = 0x04

// An Error is what a key answers in place of a message (11.2.9.1.6).
type Error byte

const ErrorBusy Error = 0x06 // another program uses the key

// Error returns one line.
func (e Error) Error() string { return fmt.Sprintf("CTAPHID error 0x%02x", byte(e)) }

var (
	// ErrMalformed is returned for a report that violates the protocol.
	ErrMalformed = errors.New("the security key sent a malformed report")
	// ErrBroken means that the device cannot be read or written, because it was
	// unplugged or closed.
	ErrBroken = errors.New("the connection to the security key is broken")
	// ErrSilent means that the device does not hand out a channel.
	ErrSilent = errors.New("the security key does not answer")
)

// packets splits a message into reports.
func packets(channel uint32, command byte, message []byte) ([][ReportSize]byte, error) {
	if len(message) > MaxMessage {
		return nil, fmt.Errorf("the message for the security key has %d bytes; at most %d fit", len(message), MaxMessage)
	}
	var first [ReportSize]byte
	binary.BigEndian.PutUint32(first[:], channel)
	first[4] = initialBit | command
	binary.BigEndian.PutUint16(first[5:], uint16(len(message)))
	message = message[copy(first[7:], message):]
	out := [][ReportSize]byte{first}
	for n := byte(0); len(message) > 0; n++ {
		var next [ReportSize]byte
		binary.BigEndian.PutUint32(next[:], channel)
		next[4] = n
		message = message[copy(next[5:], message):]
		out = append(out, next)
	}
	return out, nil
}

// An assembly reassembles one message.
type assembly struct {
	channel uint32
	command byte
	want    int // bytes; 0 before the first packet
	begun   bool
	next    byte // sequence number
	message []byte
}

// add takes a report and says whether the message is complete. Reports of other
// channels belong to other programs.
func (a *assembly) add(report []byte) (whole bool, err error) {
	if len(report) != ReportSize {
		return false, ErrMalformed
	}
	if binary.BigEndian.Uint32(report) != a.channel {
		return false, nil
	}
	switch initial := report[4]&initialBit != 0; {
	case initial && a.begun, !initial && !a.begun:
		return false, ErrMalformed
	case initial:
		a.begun, a.command = true, report[4]&^initialBit
		a.want = int(binary.BigEndian.Uint16(report[5:]))
		if a.want > MaxMessage {
			return false, ErrMalformed
		}
		a.message = append(a.message, report[7:]...)
	default:
		if report[4] != a.next {
			return false, ErrMalformed
		}
		a.next++
		a.message = append(a.message, report[5:]...)
	}
	if len(a.message) < a.want {
		return false, nil
	}
	a.message = a.message[:a.want]
	return true, nil
}

// A Channel is a conversation with one key. One call runs at a time.
type Channel struct {
	// Capabilities of the key, such as CapabilityCBOR.
	Capabilities byte

	device    *device
	id        uint32
	cancelled atomic.Bool // the call that cancels also closes
}
