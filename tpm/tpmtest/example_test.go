package tpmtest_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/tpm"
	"github.com/prtbroker/prtbroker/tpm/tpmtest"
)

// What a program does where the TPM cannot be opened, on a machine with or
// without one.
func ExampleFaulty() {
	chip := tpmtest.NewFaulty(tpm.Default())
	chip.FailOpen(os.ErrPermission)
	_, err := tpm.Open(context.Background(), chip.Opener(), tpm.Config{})
	fmt.Println(errors.Is(err, tpm.ErrNoTPM), errors.Is(err, os.ErrPermission))
	// Output: true true
}

// The code of the package documentation.
func TestExample(t *testing.T) {
	keys, err := tpm.Open(t.Context(), tpmtest.Swtpm(t).Opener(), tpm.Config{})
	require.NoError(t, err)
	defer keys.Close()
	info, err := keys.Info(t.Context())
	require.NoError(t, err)
	require.True(t, info.Hardware)
}

// A TPM for a test, and a count of what a signature costs once the key is
// loaded: the budget that such a test holds.
func ExampleCounting() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	chip, err := tpmtest.StartSwtpm(ctx, dir) // in a test: tpmtest.Swtpm(t)
	if errors.Is(err, tpmtest.ErrNoSwtpm) {
		fmt.Println(err)
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer chip.Close()
	commands, err := commandsOfASignature(ctx, chip)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(commands)
}

func commandsOfASignature(ctx context.Context, chip *tpmtest.Emulator) ([]tpm2.TPMCC, error) {
	counting := tpmtest.NewCounting(chip.Opener())
	keys, err := tpm.Open(ctx, counting.Opener(), tpm.Config{})
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	key, err := keys.GenerateKey(ctx, tpm.KeySpec{Purpose: tpm.Sign, Algorithm: tpm.P256})
	if err != nil {
		return nil, err
	}
	for range 2 { // the second signature finds the key loaded
		counting.Take()
		if _, err := key.(tpm.Signer).SignContext(ctx, make([]byte, 32), crypto.SHA256); err != nil {
			return nil, err
		}
	}
	return counting.Take(), nil
}

// The example has no output that is compared, since not every machine has swtpm.
func TestExampleCounting(t *testing.T) {
	commands, err := commandsOfASignature(t.Context(), tpmtest.Swtpm(t))
	require.NoError(t, err)
	require.Contains(t, commands, tpm2.TPMCCSign)
}
