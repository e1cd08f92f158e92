package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

// Swtpm opens a software TPM that listens on a Unix socket. This starts one,
// whose keys stay in a directory:
//
//	mkdir -p $HOME/swtpm
//	swtpm socket --tpm2 --tpmstate dir=$HOME/swtpm \
//	    --server type=unixio,path=$HOME/swtpm/socket \
//	    --flags not-need-init,startup-clear
//
// The flags start the TPM as firmware does; without them it answers
// TPM_RC_INITIALIZE. The directory should be an absolute path. It serves one
// client at a time and has no resource manager.
func Swtpm(path string) Opener { return Stream("unix", path) }

// Stream opens a TPM that speaks raw TPM commands over a network connection,
// as swtpm does. The network is one of [net.Dial].
func Stream(network, address string) Opener {
	return Opener{
		Spaces:    1,
		Exclusive: true,
		Open: func(ctx context.Context) (transport.TPMCloser, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return stream{conn}, nil
		},
	}
}

const (
	dialAgain = 5 * time.Millisecond
	dialTries = 1000
)

// dial waits for its turn: swtpm serves one client at a time, and a Unix
// socket whose queue is full answers EAGAIN.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	for try := 0; ; try++ {
		conn, err := d.DialContext(ctx, network, address)
		if !errors.Is(err, syscall.EAGAIN) || try == dialTries {
			return conn, err
		}
		t := time.NewTimer(dialAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

type stream struct{ net.Conn }

// Send writes one command and reads one response, whose header says how long
// it is.
func (s stream) Send(cmd []byte) ([]byte, error) {
	if _, err := s.Write(cmd); err != nil {
		return nil, err
	}
	rsp := make([]byte, 10, maxResponse)
	if _, err := io.ReadFull(s, rsp); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(rsp[2:])
	if size < 10 || size > maxResponse {
		return nil, fmt.Errorf("response of %d bytes", size)
	}
	rsp = rsp[:size]
	if _, err := io.ReadFull(s, rsp[10:]); err != nil {
		return nil, err
	}
	return rsp, nil
}
