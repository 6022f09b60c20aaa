// Clients that are taken over from another server.

#include "services/backup/handlers/import_client.h"

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/legacy_peer.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using testing::HasReason;
using testing::HeaderOf;
using testing::IsOkAndHolds;
using testing::LegacyPeer;
using testing::MemoryService;
using Outcome = v1::ImportClientResponse;

constexpr char kId[] = "58ddc090-7a8f-4b23-81fd-c698c2331dc8";
constexpr char kOtherId[] = "70df50d8-bf94-4321-8767-8886e2ea7da2";
constexpr absl::string_view kSessionKey("0123456789abcde\0", 16);

class ImportClientTest : public ::testing::Test {
 protected:
  v1::ImportClientRequest Request(const std::string& id = kId) const {
    v1::ImportClientRequest request;
    request.set_client_id(id);
    request.set_name("laptop one");
    request.set_public_key(peer_.PublicKey());
    request.set_session_key(std::string(kSessionKey));
    return request;
  }
  static v1::ImportClientRequest WithoutKeys(v1::ImportClientRequest request) {
    request.clear_public_key();
    request.clear_session_key();
    return request;
  }
  absl::StatusOr<Outcome::Outcome> Import(const v1::ImportClientRequest& request) {
    const auto response = service_.ImportClient(request);
    if (!response.ok()) return response.status();
    return response->outcome();
  }
  absl::StatusOr<std::string> Resume(const LegacyPeer& peer) {
    v1::ResumeClientRequest request;
    request.set_client_id(kId);
    const auto response = service_.ResumeClient(request);
    if (!response.ok()) return response.status();
    return peer.DecryptSessionKey(response->encrypted_session_key());
  }

  MemoryService service_;
  const LegacyPeer peer_;
};

TEST_F(ImportClientTest, TheClientReconnectsWithTheSessionKeyThatItHas) {
  EXPECT_THAT(Import(Request()), IsOkAndHolds(Outcome::ADDED));
  EXPECT_THAT(Resume(peer_), IsOkAndHolds(std::string(kSessionKey)));
}

TEST_F(ImportClientTest, TheSameAgainChangesNothing) {
  ASSERT_OK(Import(Request()));
  const storage::Client before = service_.Client(kId);
  service_.clock.Advance(absl::Hours(1));
  EXPECT_THAT(Import(Request()), IsOkAndHolds(Outcome::UNCHANGED));
  EXPECT_THAT(Import(WithoutKeys(Request())), IsOkAndHolds(Outcome::UNCHANGED));
  const storage::Client after = service_.Client(kId);
  EXPECT_EQ(after.sealed_session_key, before.sealed_session_key);
  EXPECT_EQ(after.last_seen_time, before.last_seen_time);
}

TEST_F(ImportClientTest, ASessionKeyThatWasRotatedHereStays) {
  ASSERT_OK(Import(Request()));
  service_.keys.rotate_session_keys = true;
  const auto rotated = Resume(peer_);
  ASSERT_OK(rotated);
  EXPECT_THAT(Import(Request()), IsOkAndHolds(Outcome::UNCHANGED));
  service_.keys.rotate_session_keys = false;
  EXPECT_THAT(Resume(peer_), IsOkAndHolds(*rotated));
}

TEST_F(ImportClientTest, AClientWithoutAKeyExchangesKeysAndOnlyThenNeedsNone) {
  EXPECT_THAT(Import(WithoutKeys(Request())), IsOkAndHolds(Outcome::ADDED));
  EXPECT_THAT(Resume(peer_), HasReason(Reason::kKeyNotSet));
  EXPECT_THAT(Import(Request()), IsOkAndHolds(Outcome::KEY_ADDED));
  EXPECT_THAT(Resume(peer_), IsOkAndHolds(std::string(kSessionKey)));
}

TEST_F(ImportClientTest, WhatIsTakenBySomethingElseIsRefusedAndStays) {
  ASSERT_OK(Import(Request()));
  v1::ImportClientRequest other_name = Request();
  other_name.set_name("other");
  EXPECT_THAT(Import(other_name), HasReason(Reason::kNameTaken));
  EXPECT_THAT(Import(Request(kOtherId)), HasReason(Reason::kNameTaken));
  v1::ImportClientRequest other_key = Request();
  const LegacyPeer other;
  other_key.set_public_key(other.PublicKey());
  EXPECT_THAT(Import(other_key), HasReason(Reason::kRekeyRefused));
  EXPECT_EQ(service_.Count().clients, 1);
  EXPECT_THAT(Resume(peer_), IsOkAndHolds(std::string(kSessionKey)));
  service_.duplicate_names = storage::DuplicateNames::kAllow;
  EXPECT_THAT(Import(Request(kOtherId)), IsOkAndHolds(Outcome::ADDED));
}

TEST_F(ImportClientTest, ValidatingChangesNothing) {
  v1::ImportClientRequest request = Request();
  request.set_validate_only(true);
  EXPECT_THAT(Import(request), IsOkAndHolds(Outcome::ADDED));
  EXPECT_EQ(service_.Count().clients, 0);
  ASSERT_OK(Import(Request()));
  EXPECT_THAT(Import(request), IsOkAndHolds(Outcome::UNCHANGED));
  request.set_client_id(kOtherId);
  EXPECT_THAT(Import(request), HasReason(Reason::kNameTaken));
}

TEST_F(ImportClientTest, TakesOverTimesButNoneOfTheFuture) {
  const absl::Time now = service_.clock.Now();
  v1::ImportClientRequest request = Request();
  request.mutable_last_seen_time()->set_seconds(absl::ToUnixSeconds(now) - 1000);
  request.mutable_legacy_profile()->set_family("D");
  ASSERT_OK(Import(request));
  EXPECT_EQ(service_.Client(kId).last_seen_time, now - absl::Seconds(1000));
  EXPECT_EQ(service_.Client(kId).create_time, now - absl::Seconds(1000));
  EXPECT_EQ(service_.Client(kId).legacy.family, "D");
  request.set_client_id(kOtherId);
  request.set_name("other");
  request.mutable_last_seen_time()->set_seconds(absl::ToUnixSeconds(now) + 1000);
  ASSERT_OK(Import(request));
  EXPECT_EQ(service_.Client(kOtherId).last_seen_time, now);
  request.mutable_last_seen_time()->set_nanos(-1);
  EXPECT_THAT(Import(request), HasReason(Reason::kInvalidField));
}

TEST_F(ImportClientTest, RefusesWhatIsNoIdNameOrKey) {
  for (const auto& change : std::vector<std::function<void(v1::ImportClientRequest&)>>{
           [](auto& request) { request.set_client_id("no id"); },
           [](auto& request) { request.set_client_id("00000000-0000-0000-0000-000000000000"); },
           [](auto& request) { request.set_name(""); },
           [](auto& request) { request.set_public_key(std::string(160, 'k')); },
           [](auto& request) { request.clear_public_key(); },
           [](auto& request) { request.clear_session_key(); },
           [](auto& request) { request.set_session_key(std::string(24, 'k')); }}) {
    v1::ImportClientRequest request = Request();
    change(request);
    EXPECT_THAT(Import(request), HasReason(Reason::kInvalidField)) << request.DebugString();
  }
  EXPECT_EQ(service_.Count().clients, 0);
}

TEST_F(ImportClientTest, AFileHasTheTimeAtWhichTheOtherServerReceivedIt) {
  ASSERT_OK(Import(Request()));
  const absl::Time then = service_.clock.Now() - absl::Hours(1000);
  v1::UploadFileHeader header = HeaderOf(kId, "file", v1::UploadFileHeader::IDENTITY, "content");
  header.mutable_receive_time()->set_seconds(absl::ToUnixSeconds(then));
  ASSERT_OK(service_.Upload(header, "content"));
  v1::ReportTransferRequest report;
  report.set_client_id(kId);
  report.set_file_name("file");
  report.set_outcome(v1::ReportTransferRequest::VERIFIED);
  *report.mutable_report_time() = header.receive_time();
  ASSERT_OK(service_.ReportTransfer(report));
  const storage::Version version = service_.Stored(kId, "file", 0).version;
  EXPECT_EQ(version.receive_time, then);
  EXPECT_EQ(version.verify_time, then);
  EXPECT_EQ(service_.Client(kId).last_verified_time, then);
  EXPECT_EQ(service_.Client(kId).last_seen_time, service_.clock.Now());
}

}  // namespace
}  // namespace backup::handlers
