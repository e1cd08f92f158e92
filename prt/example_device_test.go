package prt_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/prtbroker/prtbroker/prt"
)

func ExampleJoinRequest_Marshal() {
	r := prt.JoinRequest{
		DeviceKey:    exampleKey("device.pem"),
		TransportKey: exampleKey("transport.pem").Public(),
		Domain:       "contoso.example",
		DisplayName:  "build-7",
		OSVersion:    "Ubuntu 24.04",
	}
	body, err := r.Marshal(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	var sent struct {
		TransportKey      []byte
		DeviceDisplayName string
		JoinType          int
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sent.DeviceDisplayName, sent.JoinType, len(sent.TransportKey))
	// Output: build-7 0 283
}

func ExampleCSR() {
	der, err := prt.CSR(context.Background(), exampleKey("device.pem"))
	fmt.Println(len(der) > 0, err)
	// Output: true <nil>
}

func ExampleParseJoin() {
	der, err := os.ReadFile("testdata/device.cer")
	if err != nil {
		fmt.Println(err)
		return
	}
	reply := `{"Certificate":{"RawBody":"` + base64.StdEncoding.EncodeToString(der) + `"},"User":{"Upn":"alice@contoso.example"}}`
	j, err := prt.ParseJoin([]byte(reply))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(j.Username, j.Certificate.DeviceID, j.Certificate.Region)
	// Output: alice@contoso.example d03994c9-24f8-41ba-a156-1805998d6dc7 EU
}

func ExampleParseDeviceCertificate() {
	der, err := os.ReadFile("testdata/device.cer")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := prt.ParseDeviceCertificate(der)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.DeviceID)
	fmt.Println(c.TenantID, c.Joined)
	fmt.Println(c.Thumbprint)
	// Output:
	// d03994c9-24f8-41ba-a156-1805998d6dc7
	// 11223344-5566-7788-99aa-bbccddeeff00 true
	// 5ACC31F4E9210F147E94F1F06E006C9FD86D02E4
}

func ExampleDeviceCertificate_Matches() {
	der, err := os.ReadFile("testdata/device.cer")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := prt.ParseDeviceCertificate(der)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Matches(exampleKey("device.pem").Public()), c.Matches(exampleKey("transport.pem").Public()))
	// Output: true false
}

func ExampleMarshalPublicKey() {
	blob, err := prt.MarshalPublicKey(exampleKey("transport.pem").Public())
	fmt.Printf("%d bytes, %s, %v\n", len(blob), blob[:4], err)
	// Output: 283 bytes, RSA1, <nil>
}

func ExampleHelloRegistration() {
	body, err := prt.HelloRegistration(exampleKey("transport.pem").Public())
	fmt.Println(string(body[:13]), len(body), err)
	// Output: {"kngc":"UlNB 391 <nil>
}

func ExampleParseHelloRegistration() {
	k, err := prt.ParseHelloRegistration([]byte(`{"kid":"7a5d1c0e-1111-4222-8333-944455566677","upn":"alice@contoso.example"}`))
	fmt.Println(k.ID, k.Username, err)
	// Output: 7a5d1c0e-1111-4222-8333-944455566677 alice@contoso.example <nil>
}

func ExampleKeyThumbprint() {
	kid, err := prt.KeyThumbprint(exampleKey("device.pem").Public())
	fmt.Println(len(kid), err) // base64url of a SHA-256
	// Output: 43 <nil>
}

func ExampleKeyConfirmation() {
	cnf, err := prt.KeyConfirmation(exampleKey("device.pem").Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := base64.RawURLEncoding.DecodeString(cnf)
	fmt.Println(string(b[:8]), err)
	// Output: {"kid":" <nil>
}

func ExampleSignedRequest_Sign() {
	r := prt.SignedRequest{
		AccessToken: prt.NewSecret("eyJ0"),
		Method:      "GET",
		URL:         "https://api.contoso.example/items?id=7",
		Now:         time.Unix(1741083072, 0),
	}
	v, err := r.Sign(context.Background(), exampleKey("device.pem"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Authorization: PoP", v)
	// Output: Authorization: PoP [redacted]
}

func ExampleParseGUID() {
	g, err := prt.ParseGUID("D03994C9-24F8-41BA-A156-1805998D6DC7")
	fmt.Println(g, err)
	fmt.Printf("%x\n", g[:])
	fmt.Println(g.SID())
	// Output:
	// d03994c9-24f8-41ba-a156-1805998d6dc7 <nil>
	// c99439d0f824ba41a1561805998d6dc7
	// S-1-12-1-3493434569-1102718200-85481121-3345845657
}

// A registration names administrators by SID; the directory knows them by id.
func ExampleParseSID() {
	g, err := prt.ParseSID("S-1-12-1-3493434569-1102718200-85481121-3345845657")
	fmt.Println(g, err)
	// Output: d03994c9-24f8-41ba-a156-1805998d6dc7 <nil>
}
