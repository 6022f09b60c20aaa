// How a client becomes known and gets its session key.

#include <string>

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
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::HasReason;
using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::LegacyPeer;
using testing::MemoryService;
using ::testing::Not;

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
  absl::StatusOr<std::string> Resume(const std::string& id, const LegacyPeer& peer) {
    v1::ResumeClientRequest request;
    request.set_client_id(id);
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

TEST_F(ClientsTest, ResumingWantsAKnownClientWithAKey) {
  EXPECT_THAT(Resume(kNobody, peer_), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(Resume(service_.Register("keyless"), peer_), HasReason(Reason::kKeyNotSet));
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
