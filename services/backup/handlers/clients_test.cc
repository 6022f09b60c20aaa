// How a client becomes known and gets its session key.

#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/exchange_key.h"
#include "services/backup/handlers/resume_client.h"
#include "services/backup/handlers/session_keys.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/log_capture.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::LegacyPeer;
using testing::LogCapture;
using testing::MemoryService;
using ::testing::Not;
using testing::StatusIs;

constexpr char kNobody[] = "11111111-2222-4333-8444-555555555555";

class ClientsTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::RegisterClientResponse> Register(const std::string& name) {
    v1::RegisterClientRequest request;
    request.set_name(name);
    return service_.RegisterClient(request);
  }
  // The session key that the client can decrypt.
  absl::StatusOr<std::string> Exchange(const std::string& id, const LegacyPeer& peer,
                                       int bits = 0) {
    v1::ExchangeKeyRequest request;
    request.set_client_id(id);
    request.set_public_key(peer.PublicKey());
    request.set_session_key_bits(bits);
    const auto response = service_.ExchangeKey(request);
    if (!response.ok()) return response.status();
    return peer.DecryptSessionKey(response->encrypted_session_key());
  }
  absl::StatusOr<std::string> Resume(const std::string& id, const LegacyPeer& peer, int bits = 0) {
    v1::ResumeClientRequest request;
    request.set_client_id(id);
    request.set_session_key_bits(bits);
    const auto response = service_.ResumeClient(request);
    if (!response.ok()) return response.status();
    return peer.DecryptSessionKey(response->encrypted_session_key());
  }

  MemoryService service_;
  const LegacyPeer peer_;
};

TEST_F(ClientsTest, RegisteringAgainBeforeAnyKeyGivesTheSameClient) {
  const auto first = Register("laptop");
  const auto again = Register("laptop");
  ASSERT_OK(first);
  ASSERT_OK(again);
  EXPECT_EQ(first->client().client_id(), again->client().client_id());
  EXPECT_FALSE(first->client().has_public_key());
}

TEST_F(ClientsTest, ANameIsTakenOnceItsClientHasAKeyUnlessDuplicatesAreAllowed) {
  const KnownClient owner = service_.MakeClient("laptop");
  EXPECT_THAT(Register("laptop"), HasReason(Reason::kNameTaken));
  service_.duplicate_names = storage::DuplicateNames::kAllow;
  const auto second = Register("laptop");
  ASSERT_OK(second);
  EXPECT_NE(second->client().client_id(), owner.id);
}

TEST_F(ClientsTest, RegisteringWantsAName) {
  EXPECT_THAT(Register(""), HasReason(Reason::kInvalidField));
  EXPECT_THAT(Register(std::string(256, 'n')), HasReason(Reason::kInvalidField));
}

TEST_F(ClientsTest, GivesASessionKeyOfTheSizeAskedFor) {
  EXPECT_EQ(Exchange(service_.Register("default"), peer_)->size(), 16u);
  EXPECT_EQ(Exchange(service_.Register("short"), peer_, 128)->size(), 16u);
  EXPECT_EQ(Exchange(service_.Register("long"), peer_, 256)->size(), 32u);
  EXPECT_THAT(Exchange(service_.Register("odd"), peer_, 192), HasReason(Reason::kInvalidField));
}

TEST_F(ClientsTest, TheSameKeyAgainGivesTheSameSessionKey) {
  const std::string id = service_.Register("laptop");
  const auto first = Exchange(id, peer_);
  ASSERT_OK(first);
  EXPECT_THAT(Exchange(id, peer_), IsOkAndHolds(*first));
}

TEST_F(ClientsTest, RefusesAnotherPublicKeyWhilePinned) {
  const std::string id = service_.Register("laptop");
  const auto first = Exchange(id, peer_);
  ASSERT_OK(first);
  const LegacyPeer other;
  EXPECT_THAT(Exchange(id, other), HasReason(Reason::kRekeyRefused));
  EXPECT_THAT(Resume(id, peer_), IsOkAndHolds(*first));
}

TEST_F(ClientsTest, ReplacesThePublicKeyAndTheSessionKeyWhereAllowed) {
  Metrics metrics;
  service_.keys.rekey = storage::Rekey::kAllow;
  service_.keys.replaced_keys = metrics.AddCounter({"replaced_total", "keys"});
  const std::string id = service_.Register("laptop");
  const auto first = Exchange(id, peer_);
  ASSERT_OK(Exchange(id, peer_));
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("replaced_total 0\n"));
  const LegacyPeer other;
  const auto second = Exchange(id, other);
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_NE(*first, *second);
  EXPECT_THAT(metrics.Text(), ::testing::HasSubstr("replaced_total 1\n"));
  EXPECT_THAT(Resume(id, other), IsOkAndHolds(*second));
}

TEST_F(ClientsTest, RefusesWhatIsNoKeyAndWhoIsNotKnown) {
  v1::ExchangeKeyRequest request;
  request.set_client_id(service_.Register("laptop"));
  request.set_public_key("not a key");
  const absl::Status status = service_.ExchangeKey(request).status();
  EXPECT_THAT(status, HasReason(Reason::kInvalidField));
  EXPECT_EQ(SubjectOf(status), "public_key");
  EXPECT_THAT(Exchange(kNobody, peer_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Exchange("nobody", peer_), HasReason(Reason::kInvalidField));
}

TEST_F(ClientsTest, KeepsSessionKeysSealedAndBoundToTheirClient) {
  const std::string id = service_.Register("laptop");
  const auto session_key = Exchange(id, peer_);
  ASSERT_OK(session_key);
  storage::Client client = service_.Client(id);
  EXPECT_THAT(client.sealed_session_key, Not(HasSubstr(*session_key)));
  EXPECT_THAT(OpenSessionKey(service_.master_key, client), IsOkAndHolds(*session_key));
  client.id = *ParseClientId(kNobody);
  EXPECT_THAT(OpenSessionKey(service_.master_key, client), HasReason(Reason::kBlobDamaged));
}

TEST_F(ClientsTest, ResumingGivesTheStoredSessionKeyAndNotesTheTime) {
  const std::string id = service_.Register("laptop");
  const auto session_key = Exchange(id, peer_);
  ASSERT_OK(session_key);
  service_.clock.Advance(absl::Hours(1));
  EXPECT_THAT(Resume(id, peer_), IsOkAndHolds(*session_key));
  EXPECT_EQ(service_.Client(id).last_seen_time, service_.clock.Now());
}

TEST_F(ClientsTest, ResumingMakesANewSessionKeyWhereAskedTo) {
  service_.keys.rotate_session_keys = true;
  const std::string id = service_.Register("laptop");
  const auto first = Exchange(id, peer_, 256);
  const auto second = Resume(id, peer_);
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_NE(*first, *second);
  EXPECT_EQ(second->size(), 32u);
}

// Whatever the way is on which it comes back.
TEST_F(ClientsTest, GetsANewSessionKeyIfAMissingGenerationSealedTheOldOne) {
  const std::string id = service_.Register("laptop");
  ASSERT_OK(Exchange(id, peer_, 256));
  crypto::KeyRing lost;
  lost.Add(5, std::string(32, 'g'));
  const auto lose = [&] {
    const ClientId client = service_.Client(id).id;
    storage::KeyGrant grant;
    grant.public_key = service_.Client(id).public_key;
    grant.sealed_session_key = SealSessionKey(lost, client, std::string(32, 's'));
    grant.session_key_bits = 256;
    grant.rotate = true;
    ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
      return transaction.SetClientKey(client, grant, storage::Rekey::kAllow, service_.clock.Now())
          .status();
    }));
  };
  for (const bool exchanges : {false, true}) {
    SCOPED_TRACE(exchanges);
    lose();
    LogCapture log;
    const auto renewed = exchanges ? Exchange(id, peer_, 256) : Resume(id, peer_);
    ASSERT_OK(renewed);
    EXPECT_EQ(renewed->size(), 32u);
    EXPECT_NE(*renewed, std::string(32, 's'));
    EXPECT_THAT(log.text(), HasSubstr("gave a client a new session key"));
    EXPECT_THAT(log.text(), HasSubstr(id));
    // It is its own from then on.
    EXPECT_THAT(OpenSessionKey(service_.master_key, service_.Client(id)), IsOkAndHolds(*renewed));
    EXPECT_THAT(Resume(id, peer_), IsOkAndHolds(*renewed));
    EXPECT_THAT(Exchange(id, peer_, 256), IsOkAndHolds(*renewed));
  }
  // Also one of another size.
  lose();
  const auto small = Resume(id, peer_, 128);
  ASSERT_OK(small);
  EXPECT_EQ(small->size(), 16u);
  EXPECT_EQ(service_.Client(id).session_key_bits, 128);
}

TEST_F(ClientsTest, ResumingWantsAKnownClientWithAKey) {
  EXPECT_THAT(Resume(kNobody, peer_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Resume(service_.Register("keyless"), peer_), HasReason(Reason::kKeyNotSet));
}

TEST(StoredPublicKey, ThatIsNoneIsNotTheCallersFault) {
  storage::Client client;
  client.public_key = "no key";
  EXPECT_THAT(StoredPublicKey(client), StatusIs(absl::StatusCode::kInternal));
}

TEST_F(ClientsTest, ResumingGivesASessionKeyOfTheSizeAskedForWhichIsTheClientsFromThenOn) {
  const std::string id = service_.Register("laptop");
  const auto small = Exchange(id, peer_, 128);
  ASSERT_OK(small);
  EXPECT_THAT(Resume(id, peer_, 128), IsOkAndHolds(*small));
  const auto large = Resume(id, peer_, 256);
  ASSERT_OK(large);
  EXPECT_EQ(large->size(), 32u);
  EXPECT_THAT(Resume(id, peer_, 256), IsOkAndHolds(*large));
  EXPECT_THAT(Resume(id, peer_, 0), IsOkAndHolds(*large));
  EXPECT_THAT(Exchange(id, peer_, 256), IsOkAndHolds(*large));
  EXPECT_THAT(Resume(id, peer_, 192), HasReason(Reason::kInvalidField));
}

TEST_F(ClientsTest, TellsTheSessionKeyInTheEncryptionAskedFor) {
  v1::ExchangeKeyRequest exchange;
  exchange.set_client_id(service_.Register("laptop"));
  exchange.set_public_key(peer_.PublicKey());
  exchange.set_session_key_encryption(v1::RSAES_PKCS1_V15);
  const auto exchanged = service_.ExchangeKey(exchange);
  ASSERT_OK(exchanged);
  const std::string session_key = peer_.DecryptPkcs1SessionKey(exchanged->encrypted_session_key());
  EXPECT_EQ(session_key.size(), 16u);
  EXPECT_THAT(Resume(exchange.client_id(), peer_), IsOkAndHolds(session_key));
  v1::ResumeClientRequest resume;
  resume.set_client_id(exchange.client_id());
  resume.set_session_key_encryption(v1::RSAES_PKCS1_V15);
  const auto resumed = service_.ResumeClient(resume);
  ASSERT_OK(resumed);
  EXPECT_EQ(peer_.DecryptPkcs1SessionKey(resumed->encrypted_session_key()), session_key);

  exchange.set_session_key_encryption(static_cast<v1::SessionKeyEncryption>(2));
  EXPECT_THAT(service_.ExchangeKey(exchange), HasReason(Reason::kInvalidField));
  resume.set_session_key_encryption(static_cast<v1::SessionKeyEncryption>(2));
  EXPECT_THAT(service_.ResumeClient(resume), HasReason(Reason::kInvalidField));
}

// A client that does not tell its id: all that protects others protects them here too.
class NamedClientTest : public ClientsTest {
 protected:
  absl::StatusOr<v1::ExchangeKeyResponse> ExchangeAs(const std::string& name,
                                                     const LegacyPeer& peer) {
    v1::ExchangeKeyRequest request;
    request.set_name(name);
    request.set_public_key(peer.PublicKey());
    return service_.ExchangeKey(request);
  }
  absl::StatusOr<v1::ResumeClientResponse> ResumeAs(const std::string& name) {
    v1::ResumeClientRequest request;
    request.set_name(name);
    return service_.ResumeClient(request);
  }
};

TEST_F(NamedClientTest, IsFoundByItsNameAndToldItsId) {
  const std::string id = service_.Register("laptop");
  EXPECT_THAT(ResumeAs("laptop"), HasReason(Reason::kKeyNotSet));
  const auto exchanged = ExchangeAs("laptop", peer_);
  ASSERT_OK(exchanged);
  EXPECT_EQ(exchanged->client_id(), id);
  const auto resumed = ResumeAs("laptop");
  ASSERT_OK(resumed);
  EXPECT_EQ(resumed->client_id(), id);
  EXPECT_EQ(peer_.DecryptSessionKey(resumed->encrypted_session_key()),
            peer_.DecryptSessionKey(exchanged->encrypted_session_key()));
  EXPECT_THAT(ExchangeAs("laptop", LegacyPeer()), HasReason(Reason::kRekeyRefused));
}

TEST_F(NamedClientTest, IsTheOneThatRegisteredLast) {
  service_.MakeClient("laptop");
  service_.duplicate_names = storage::DuplicateNames::kAllow;
  service_.clock.Advance(absl::Seconds(1));
  const std::string second = service_.Register("laptop");
  const auto exchanged = ExchangeAs("laptop", peer_);
  ASSERT_OK(exchanged);
  EXPECT_EQ(exchanged->client_id(), second);
}

TEST_F(NamedClientTest, NeedsANameThatIsKnown) {
  service_.keys.unknown_key = UnknownKey::kAdopt;  // Without an id there is nothing to adopt.
  EXPECT_THAT(ExchangeAs("nobody", peer_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ResumeAs("nobody"), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ExchangeAs("", peer_), HasReason(Reason::kInvalidField));
  EXPECT_THAT(ResumeAs(""), HasReason(Reason::kInvalidField));
}

class UnknownKeyTest : public ClientsTest {
 protected:
  UnknownKeyTest() {
    service_.keys.unknown_key = UnknownKey::kAdopt;
    service_.keys.adopted_clients = metrics_.AddCounter({"adopted_total", "clients"});
  }
  static v1::ExchangeKeyRequest RequestOf(const std::string& id, const std::string& name,
                                          const LegacyPeer& peer) {
    v1::ExchangeKeyRequest request;
    request.set_client_id(id);
    request.set_name(name);
    request.set_public_key(peer.PublicKey());
    return request;
  }
  absl::StatusOr<std::string> ExchangeAs(const std::string& id, const std::string& name,
                                         const LegacyPeer& peer) {
    const auto response = service_.ExchangeKey(RequestOf(id, name, peer));
    if (!response.ok()) return response.status();
    EXPECT_EQ(response->client_id(), id);
    return peer.DecryptSessionKey(response->encrypted_session_key());
  }

  Metrics metrics_;
};

TEST_F(UnknownKeyTest, IsRefusedUnlessAdoptingIsOn) {
  service_.keys.unknown_key = UnknownKey::kRefuse;
  EXPECT_THAT(ExchangeAs(kNobody, "laptop", peer_), HasReason(Reason::kClientNotFound));
  EXPECT_EQ(service_.Count().clients, 0);
}

TEST_F(UnknownKeyTest, MakesItsClientUnderItsIdAndName) {
  const LogCapture log;
  const auto session_key = ExchangeAs(kNobody, "lap%0Atop", peer_);
  ASSERT_OK(session_key);
  EXPECT_EQ(session_key->size(), 16u);
  const storage::Client client = service_.Client(kNobody);
  EXPECT_EQ(client.name, "lap\ntop");
  EXPECT_EQ(client.create_time, service_.clock.Now());
  EXPECT_EQ(client.last_seen_time, service_.clock.Now());
  EXPECT_THAT(metrics_.Text(), HasSubstr("adopted_total 1\n"));
  EXPECT_THAT(log.text(), HasSubstr(absl::StrCat("client=", kNobody, " name=lap%0Atop")));
  // From then on it is a client like others.
  EXPECT_THAT(ExchangeAs(kNobody, "lap%0Atop", peer_), IsOkAndHolds(*session_key));
  EXPECT_THAT(Resume(kNobody, peer_), IsOkAndHolds(*session_key));
  EXPECT_THAT(ExchangeAs(kNobody, "lap%0Atop", LegacyPeer()), HasReason(Reason::kRekeyRefused));
  EXPECT_THAT(Register("lap%0Atop"), HasReason(Reason::kNameTaken));
  EXPECT_THAT(metrics_.Text(), HasSubstr("adopted_total 1\n"));
}

TEST_F(UnknownKeyTest, IsRefusedUnderANameThatSomebodyHas) {
  service_.MakeClient("keyed");
  service_.Register("never keyed");
  EXPECT_THAT(ExchangeAs(kNobody, "keyed", peer_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ExchangeAs(kNobody, "never keyed", peer_), HasReason(Reason::kClientNotFound));
}

TEST_F(UnknownKeyTest, IsRefusedWithoutAUsableIdOrName) {
  EXPECT_THAT(ExchangeAs(kNobody, "", peer_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ExchangeAs("00000000-0000-0000-0000-000000000000", "laptop", peer_),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(ExchangeAs("nobody", "laptop", peer_), HasReason(Reason::kInvalidField));
  EXPECT_EQ(service_.Count().clients, 0);
}

TEST_F(UnknownKeyTest, IsOutdatedOnceAnotherWasFaster) {
  const auto prepare = [&] {
    return ExchangeKey::Prepare(service_.catalog, service_.master_key, service_.clock,
                                service_.keys, RequestOf(kNobody, "laptop", peer_));
  };
  auto slow = prepare();
  ASSERT_OK(slow);
  ASSERT_OK(ExchangeAs(kNobody, "laptop", peer_));
  EXPECT_TRUE(IsOutdated(service_.catalog.Run(
      [&](storage::Transaction& transaction) { return slow->Apply(transaction); })));
  EXPECT_EQ(service_.Count().clients, 1);
}

// What was prepared tells the client a session key that the catalog does not have.
class OutdatedTest : public ClientsTest {
 protected:
  absl::StatusOr<ExchangeKey> PrepareExchange() {
    v1::ExchangeKeyRequest request;
    request.set_client_id(id_);
    request.set_public_key(peer_.PublicKey());
    return ExchangeKey::Prepare(service_.catalog, service_.master_key, service_.clock,
                                service_.keys, request);
  }
  absl::StatusOr<ResumeClient> PrepareResume() {
    v1::ResumeClientRequest request;
    request.set_client_id(id_);
    return ResumeClient::Prepare(service_.catalog, service_.master_key, service_.clock,
                                 service_.keys, request);
  }
  template <typename Handler>
  absl::Status Apply(Handler& handler) {
    return service_.catalog.Run(
        [&](storage::Transaction& transaction) { return handler.Apply(transaction); });
  }

  const std::string id_ = service_.Register("laptop");
};

TEST_F(OutdatedTest, ExchangeKeyIfTheSameKeyWasExchangedMeanwhile) {
  auto slow = PrepareExchange();
  ASSERT_OK(slow);
  const auto session_key = Exchange(id_, peer_);
  ASSERT_OK(session_key);
  EXPECT_TRUE(IsOutdated(Apply(*slow)));
  EXPECT_THAT(Resume(id_, peer_), IsOkAndHolds(*session_key));
}

TEST_F(OutdatedTest, ResumeClientIfTheClientGotOtherKeysMeanwhile) {
  ASSERT_OK(Exchange(id_, peer_));
  auto slow = PrepareResume();
  ASSERT_OK(slow);
  EXPECT_OK(Apply(*slow));
  service_.keys.rekey = storage::Rekey::kAllow;
  ASSERT_OK(Exchange(id_, LegacyPeer()));
  EXPECT_TRUE(IsOutdated(Apply(*slow)));
}

}  // namespace
}  // namespace backup::handlers
