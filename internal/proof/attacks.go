package main

import "strings"

// attacks are the tests of SECURITY.md's table "Attacks tried", by package.
var attacks = []struct{ pkg, tests string }{
	{"./broker", "TestAnotherUserAtAStepUp TestCloudsAreNotTakenFromReplies TestCookieGoesToSignInHostsOnly TestForgedRedirect TestHostileProvisioning TestInstanceDiscovery TestOfflineOnAnotherTPM TestOldStatePutBack TestOtherUserOnThePageOfAnApp TestProxyIsNoRegistrationService TestRedirectsAreNotFollowed TestRepliesInTheClear TestRepliesSwapped TestScopeSystem TestSignInFixation TestStoryBoundToTheDevice TestStrangerIsNoService TestTPMLocksOut TestTamperedClockAtUnlock TestUnknownLoginHostGetsNothing TestVisitWithAnOldNonce"},
	{"./broker/dbus", "TestCookieHosts TestCookieNonces TestOtherUser TestPrivateTokens TestServiceBadCalls TestServiceCancel TestServiceOtherUser TestServiceThousandPending"},
	{"./broker/entratest", "TestCodeRefusals TestDeviceOfReplacedSession TestForgedAssertions TestPRTCookie TestPRTUseRefusals"},
	{"./broker/entratest/admin", "TestHosts TestWhoIsRefused"},
	{"./broker/entratest/internal/verify", "TestParseJWSRefuses TestSAMLForged TestSAMLWrittenAnew"},
	{"./broker/internal/sts", "TestFindAssertion TestFollowedRedirectIsNoReply TestStrangers"},
	{"./broker/internal/vault", "TestKeyringTampered TestOfAnotherKeyStore TestRollback TestRollbackBeforeTheMark TestRollbackWithoutMark TestTampering"},
	{"./broker/store", "TestFileModes TestFileOfADynamicUser TestFileRefusals"},
	{"./broker/webflow", "TestFederatedPasswordGoesNowhereElse TestStrangePages"},
	{"./claims/verify", "TestMutations TestRefusals"},
	{"./examples/tenant", "TestAPI TestDashboardRefusesOthers"},
	{"./prt", "TestCookieHosts TestCookieRefusals TestHostileJSON TestHostileSessionKey TestHostileValues TestMutatedGCMReply TestNoKDFDowngrade TestNoPaddingOracle TestReplyRefusals TestTruncatedReplies"},
	{"./tpm", "TestForeignKeyWithoutParentName TestPINSealLockout TestPINSealResets TestPowerLossDoesNotCount TestReplaced TestReplacedBySameHandle TestTamperedResponse TestWireShowsNoCredential TestWireShowsNoSecret"},
}

// attackSteps runs them. A cell is a test, or each of its subtests.
func attackSteps() (steps []step) {
	for _, a := range attacks {
		steps = append(steps, step{pkg: a.pkg, run: "^(" + strings.ReplaceAll(a.tests, " ", "|") + ")$", count: countSubtests("a way to attack")})
	}
	return steps
}
