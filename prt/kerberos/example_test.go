package kerberos_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/prt/kerberos"
)

var session prt.Session // of the PRT; the key of this ticket is not under it

// exampleTGT is a ticket whose client key came in the clear, as some services
// send it.
func exampleTGT() prt.TGT {
	b, err := os.ReadFile("testdata/kerberos.json")
	if err != nil {
		panic(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	a := v.ASRep[0]
	var key []byte
	if _, err := fmt.Sscanf(a.ClientKey, "%x", &key); err != nil {
		panic(err)
	}
	return prt.TGT{Cloud: true, KeyType: 18, ASRep: a.ASRep, ClientKey: prt.NewSecret(base64.StdEncoding.EncodeToString(key))}
}

func ExampleOpen() {
	t, err := kerberos.Open(context.Background(), exampleTGT(), session)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Client.Names, t.Server.Names, t.EndTime)
	// Output: [alice@contoso.example] [krbtgt KERBEROS.MICROSOFTONLINE.COM] 2025-03-04 20:11:12 +0000 UTC
}

func ExampleCache() {
	ctx, tickets := context.Background(), []prt.TGT{exampleTGT()} // of the PRT's Issuance

	file, err := kerberos.Cache(ctx, tickets, session) // for KRB5CCNAME=FILE:…, mode 0600
	fmt.Println(len(file) > 0, err)
	// Output: true <nil>
}

func ExampleWriteCache() {
	t, err := kerberos.Open(context.Background(), exampleTGT(), session)
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := kerberos.WriteCache([]*kerberos.Ticket{t})
	fmt.Printf("%x %v\n", file[:2], err)
	// Output: 0504 <nil>
}

func ExampleReadCache() {
	file, err := kerberos.Cache(context.Background(), []prt.TGT{exampleTGT()}, session)
	if err != nil {
		fmt.Println(err)
		return
	}
	tickets, err := kerberos.ReadCache(file)
	fmt.Println(len(tickets), tickets[0].Server.Realm, err)
	// Output: 1 KERBEROS.MICROSOFTONLINE.COM <nil>
}
