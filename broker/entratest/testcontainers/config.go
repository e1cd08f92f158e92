package entracontainer

import (
	"errors"
	"fmt"

	"github.com/prtbroker/prtbroker/broker/entratest"
	"github.com/prtbroker/prtbroker/internal/camel"
)

// configOf writes options as a configuration file of examples/tenant, or says what a
// file cannot contain.
func configOf(o entratest.Options) ([]byte, error) {
	if err := portable(o); err != nil {
		return nil, err
	}
	return camel.MarshalSet(o)
}

// portable returns an error if only a server in this process can do what the options say.
func portable(o entratest.Options) error {
	inside := func(field string) error {
		return fmt.Errorf("field %s works inside the process only; a container cannot be given it", field)
	}
	switch {
	case o.Clock != nil:
		return errors.Join(inside("Clock"), errors.New("the administration API moves the clock of a container"))
	case o.Logf != nil:
		return errors.Join(inside("Logf"), errors.New("a log consumer of testcontainers reads the log of a container that has -v in its command"))
	case o.Judge != nil:
		return inside("Judge")
	case o.ClientAddress != nil:
		return inside("ClientAddress")
	case o.State != nil:
		return inside("State")
	}
	for _, f := range o.Faults {
		if f.Match != nil {
			return inside("Faults with a Match")
		}
	}
	users := o.Users
	for _, t := range o.OtherTenants {
		users = append(users[:len(users):len(users)], t.Users...)
	}
	for _, u := range users {
		if len(u.Passkeys) > 0 {
			return inside("Users with passkeys")
		}
	}
	return nil
}
