package store_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/broker/store"
)

// State in a directory that several apps of a user share.
func ExampleNewFile() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := store.NewFile(filepath.Join(dir, "broker"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	v, err := st.Put(ctx, "note", []byte("one"), 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = st.Put(ctx, "note", []byte("two"), 0)
	fmt.Println(errors.Is(err, store.ErrConflict))
	_, err = st.Put(ctx, "note", []byte("two"), v)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}
