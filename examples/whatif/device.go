package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/policy"
)

// setDevice reads "hybrid,compliant,model=Surface": words for what most rules
// ask, and any property by its name in filter rules.
func setDevice(in *policy.SignIn, a attempt) error {
	if a.Device == "" || strings.EqualFold(a.Device, "none") || strings.EqualFold(a.Device, "unregistered") {
		return nil
	}
	d := &policy.Device{ID: "device", TrustType: policy.TrustRegistered}
	for fact := range strings.SplitSeq(a.Device, ",") {
		fact = strings.TrimSpace(fact)
		name, value, isProperty := strings.Cut(fact, "=")
		if isProperty {
			if err := setProperty(d, name, value); err != nil {
				return err
			}
			continue
		}
		i := slices.IndexFunc(deviceWords, func(w deviceWord) bool { return strings.EqualFold(w.word, fact) })
		if i < 0 {
			return fmt.Errorf("%q is not a fact about a device; use registered, joined, hybrid, managed, compliant, noncompliant, company, personal or property=value", fact)
		}
		deviceWords[i].set(d)
	}
	in.Device = d
	return nil
}

type deviceWord struct {
	word string
	set  func(*policy.Device)
}

var deviceWords = []deviceWord{
	{"registered", func(d *policy.Device) { d.TrustType = policy.TrustRegistered }},
	{"joined", func(d *policy.Device) { d.TrustType = policy.TrustJoined }},
	{"hybrid", func(d *policy.Device) { d.TrustType = policy.TrustHybrid }},
	{"compliant", func(d *policy.Device) { d.Compliant = claims.Yes }},
	{"noncompliant", func(d *policy.Device) { d.Compliant, d.Managed = claims.No, true }},
	{"managed", func(d *policy.Device) { d.Managed = true }},
	{"company", func(d *policy.Device) { d.Ownership = "Company" }},
	{"personal", func(d *policy.Device) { d.Ownership = "Personal" }},
}

func setProperty(d *policy.Device, name, value string) error {
	if n, ok := strings.CutPrefix(strings.ToLower(name), "extensionattribute"); ok {
		i, err := strconv.Atoi(n)
		if err != nil || i < 1 || i > len(d.ExtensionAttributes) {
			return fmt.Errorf("%q is not a property of a device", name)
		}
		d.ExtensionAttributes[i-1] = value
		return nil
	}
	for _, p := range []struct {
		name string
		to   *string
	}{
		{"deviceId", &d.ID}, {"displayName", &d.DisplayName}, {"manufacturer", &d.Manufacturer},
		{"enrollmentProfileName", &d.EnrollmentProfileName}, {"mdmAppId", &d.MDMAppID}, {"model", &d.Model},
		{"operatingSystem", &d.OperatingSystem}, {"operatingSystemVersion", &d.OperatingSystemVersion},
		{"deviceOwnership", &d.Ownership}, {"profileType", &d.ProfileType},
	} {
		if strings.EqualFold(p.name, name) {
			*p.to = value
			return nil
		}
	}
	switch strings.ToLower(name) {
	case "physicalids":
		d.PhysicalIDs = append(d.PhysicalIDs, value)
	case "systemlabels":
		d.SystemLabels = append(d.SystemLabels, value)
	default:
		return fmt.Errorf("%q is not a property of a device", name)
	}
	return nil
}
