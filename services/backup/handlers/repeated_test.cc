// Every handler that changes the catalog, on a catalog that runs each transaction function twice.

#include <memory>
#include <string>

#include "base/error.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"
#include "storage/testing/repeating_catalog.h"

namespace backup::handlers {
namespace {

using testing::DownloadOf;
using testing::HasReason;
using ::testing::HasSubstr;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::KnownClient;
using testing::LegacyPeer;
using testing::MemoryService;
using Header = v1::UploadFileHeader;
using Report = v1::ReportTransferRequest;

class RepeatedTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::string> Exchange(const std::string& id, const LegacyPeer& peer) {
    v1::ExchangeKeyRequest request;
    request.set_client_id(id);
    request.set_public_key(peer.PublicKey());
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

  MemoryService service_{
      std::make_unique<storage::RepeatingCatalog>(std::make_unique<storage::MemoryCatalog>())};
};

TEST_F(RepeatedTest, RegisterClientMakesOneClientAndTellsItsId) {
  const std::string id = service_.Register("laptop");
  EXPECT_EQ(service_.Count().clients, 1);
  EXPECT_EQ(service_.Client(id).name, "laptop");
}

TEST_F(RepeatedTest, ImportClientAddsOneClientAndSaysSo) {
  const LegacyPeer peer;
  v1::ImportClientRequest request;
  request.set_client_id("58ddc090-7a8f-4b23-81fd-c698c2331dc8");
  request.set_name("laptop");
  request.set_public_key(peer.PublicKey());
  request.set_session_key("0123456789abcdef");
  const auto response = service_.ImportClient(request);
  ASSERT_OK(response);
  EXPECT_EQ(response->outcome(), v1::ImportClientResponse::ADDED);
  EXPECT_EQ(service_.Count().clients, 1);
  EXPECT_THAT(Resume(request.client_id(), peer), IsOkAndHolds("0123456789abcdef"));
}

TEST_F(RepeatedTest, ExchangeKeyTakesOneClientInAndTellsTheSessionKeyThatIsStored) {
  service_.keys.unknown_key = UnknownKey::kAdopt;
  const LegacyPeer peer;
  v1::ExchangeKeyRequest request;
  request.set_client_id("58ddc090-7a8f-4b23-81fd-c698c2331dc8");
  request.set_name("laptop");
  request.set_public_key(peer.PublicKey());
  const auto response = service_.ExchangeKey(request);
  ASSERT_OK(response);
  EXPECT_EQ(service_.Count().clients, 1);
  EXPECT_THAT(Resume(request.client_id(), peer),
              IsOkAndHolds(peer.DecryptSessionKey(response->encrypted_session_key())));
}

TEST_F(RepeatedTest, ExchangeKeyAndResumeClientTellTheSessionKeyThatIsStored) {
  const LegacyPeer peer;
  const std::string id = service_.Register("laptop");
  const auto session_key = Exchange(id, peer);
  ASSERT_OK(session_key);
  EXPECT_THAT(OpenSessionKey(service_.master_key, service_.Client(id)), IsOkAndHolds(*session_key));
  EXPECT_THAT(Exchange(id, peer), IsOkAndHolds(*session_key));
  EXPECT_THAT(Resume(id, peer), IsOkAndHolds(*session_key));
  service_.keys.rotate_session_keys = true;
  const auto rotated = Resume(id, peer);
  ASSERT_OK(rotated);
  EXPECT_NE(*rotated, *session_key);
  EXPECT_THAT(OpenSessionKey(service_.master_key, service_.Client(id)), IsOkAndHolds(*rotated));
}

TEST_F(RepeatedTest, ExchangeKeyCountsAReplacedKeyOnce) {
  Metrics metrics;
  service_.keys.rekey = storage::Rekey::kAllow;
  service_.keys.replaced_keys = metrics.AddCounter({"replaced_total", "keys"});
  const std::string id = service_.Register("laptop");
  ASSERT_OK(Exchange(id, LegacyPeer()));
  EXPECT_THAT(metrics.Text(), HasSubstr("replaced_total 0\n"));
  ASSERT_OK(Exchange(id, LegacyPeer()));
  EXPECT_THAT(metrics.Text(), HasSubstr("replaced_total 1\n"));
}

TEST_F(RepeatedTest, UploadFileAddsOneVersionWhereverItsContentIs) {
  const KnownClient client = service_.MakeClient("laptop");
  for (const int64_t inline_limit : {0, 1000}) {
    service_.uploads.inline_blob_limit = inline_limit;
    const int64_t versions = service_.Count().versions;
    const auto stored =
        service_.Upload(HeaderOf(client.id, "file", Header::IDENTITY, "content"), "content");
    ASSERT_OK(stored);
    EXPECT_EQ(service_.Count().versions, versions + 1);
    service_.Sweep();
    EXPECT_THAT(service_.Download(DownloadOf(client.id, "file", stored->version().version_id())),
                IsOkAndHolds("content"));
  }
  EXPECT_EQ(service_.BlobCount(), 1);
}

TEST_F(RepeatedTest, UploadFileNotesWhatItObservedOfAClientThatFails) {
  const KnownClient client = service_.MakeClient("laptop");
  Header header = HeaderOf(client.id, "file", Header::IDENTITY, "content");
  header.mutable_legacy_profile()->set_family("C");
  EXPECT_THAT(service_.Upload(header, "cut"), HasReason(Reason::kInvalidField));
  EXPECT_EQ(service_.Client(client.id).legacy.family, "C");
}

TEST_F(RepeatedTest, ReportTransferSettlesOneVersionAndTellsWhetherItDid) {
  const KnownClient client = service_.MakeClient("laptop");
  const auto header = HeaderOf(client.id, "file", Header::IDENTITY, "content");
  for (const Report::Outcome outcome : {Report::RETRYING, Report::ABANDONED, Report::VERIFIED}) {
    ASSERT_OK(service_.Upload(header, "content"));
    EXPECT_OK(service_.Report(client.id, "file", outcome));
  }
  EXPECT_EQ(service_.Count().versions, 2);
  EXPECT_EQ(service_.Count().verified_versions, 1);
  EXPECT_EQ(service_.Count().abandoned_versions, 1);
  EXPECT_EQ(service_.Client(client.id).resends, 1);
}

TEST_F(RepeatedTest, ObserveClientKeepsWhatItObserved) {
  v1::ObserveClientRequest request;
  request.set_client_id(service_.Register("laptop"));
  request.mutable_observed()->set_family("C");
  for (int i = 0; i < 2; ++i) {
    const auto observed = service_.ObserveClient(request);
    ASSERT_OK(observed);
    EXPECT_EQ(observed->profile().family(), "C");
  }
  EXPECT_EQ(service_.Client(request.client_id()).legacy.family, "C");
}

TEST_F(RepeatedTest, DeletingTellsThatItWasDone) {
  const KnownClient client = service_.MakeClient("laptop");
  service_.uploads.inline_blob_limit = 0;
  const int64_t version = service_.Store(client.id, "file", "content");
  service_.Store(client.id, "other", "content");
  EXPECT_OK(service_.Delete(client.id, "file", version));
  v1::DeleteClientRequest request;
  request.set_client_id(client.id);
  EXPECT_OK(service_.DeleteClient(request));
  EXPECT_EQ(service_.Count().chunks, 0);
}

}  // namespace
}  // namespace backup::handlers
