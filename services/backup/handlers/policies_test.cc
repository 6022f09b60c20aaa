#include "services/backup/handlers/policies.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/handlers/transact.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using ::testing::ElementsAre;
using testing::HasReason;
using testing::KnownClient;
using testing::MemoryService;

constexpr char kNobody[] = "11111111-2222-4333-8444-555555555555";

class PoliciesTest : public ::testing::Test {
 protected:
  static v1::RetentionPolicy Policy(const std::string& client, const std::string& pattern,
                                    int64_t keep_last) {
    v1::RetentionPolicy policy;
    policy.set_client_id(client);
    policy.set_pattern(pattern);
    policy.set_keep_last(keep_last);
    return policy;
  }
  absl::Status Set(const v1::RetentionPolicy& policy) {
    v1::SetPolicyRequest request;
    *request.mutable_policy() = policy;
    return Transact(service_.catalog, [&] { return SetPolicy::Prepare(request); }).status();
  }
  absl::Status Delete(const std::string& client, const std::string& pattern) {
    v1::DeletePolicyRequest request;
    request.set_client_id(client);
    request.set_pattern(pattern);
    return Transact(service_.catalog, [&] { return DeletePolicy::Prepare(request); }).status();
  }
  absl::StatusOr<v1::GetPolicyResponse> Get(const std::string& client, const std::string& pattern) {
    v1::GetPolicyRequest request;
    request.set_client_id(client);
    request.set_pattern(pattern);
    return service_.Read(GetPolicy, request);
  }
  std::vector<std::string> List(int page_size) {
    std::vector<std::string> listed;
    v1::ListPoliciesRequest request;
    request.set_page_size(page_size);
    do {
      const auto page = service_.Read(ListPolicies, request);
      EXPECT_OK(page);
      for (const v1::RetentionPolicy& policy : page->policies())
        listed.push_back(absl::StrCat(policy.client_id().empty() ? "store" : "client", ":",
                                      policy.pattern(), ":", policy.keep_last()));
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return listed;
  }
  // "name:version:reasons" of each version.
  absl::StatusOr<std::vector<std::string>> Preview(const v1::PreviewRetentionRequest& request) {
    std::vector<std::string> told;
    const absl::Status status = PreviewRetention(
        service_.catalog, {service_.clock.Now(), {absl::UTCTimeZone(), absl::Hours(168)}}, request,
        [&](const v1::PreviewRetentionResponse& part) {
          for (const v1::RetentionDecision& decision : part.decisions()) {
            told.push_back(absl::StrCat(decision.file_name(), ":", decision.version_id()));
            for (const int reason : decision.reasons())
              absl::StrAppend(&told.back(), ":", v1::RetentionReason_Name(reason));
          }
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    return told;
  }
  // A verified version that came now.
  int64_t Add(const std::string& client, const std::string& name) {
    return service_.catalog
        .Run([&](storage::Transaction& transaction) -> absl::StatusOr<int64_t> {
          storage::Version version;
          version.client_id = *FromUuid<ClientId>(client);
          version.file_name = name;
          version.version_id = *transaction.ReserveVersionIds(1);
          version.sha256 = std::string(32, 's');
          version.receive_time = service_.clock.Now();
          EXPECT_OK(transaction.AddVersion(version, std::string("bytes"), {}));
          EXPECT_OK(transaction.SettleVersion(
              {version.client_id, name, std::nullopt, storage::Outcome::kVerified},
              service_.clock.Now()));
          return version.version_id;
        })
        .value();
  }

  MemoryService service_;
  const KnownClient client_ = service_.MakeClient("laptop");
};

TEST_F(PoliciesTest, KeepsAndForgetsPolicies) {
  EXPECT_THAT(Get("", "").status(), HasReason(Reason::kPolicyNotFound));
  v1::RetentionPolicy policy = Policy(client_.id, "**/caf%E9*", 1);
  policy.mutable_keep_within()->set_seconds(90);
  policy.mutable_keep_within()->set_nanos(500'000'000);
  policy.set_keep_hourly(2);
  policy.set_keep_daily(3);
  policy.set_keep_weekly(4);
  policy.set_keep_monthly(5);
  policy.set_keep_yearly(6);
  ASSERT_OK(Set(policy));
  EXPECT_EQ(Get(client_.id, "**/caf%E9*")->policy().SerializeAsString(),
            policy.SerializeAsString());
  EXPECT_OK(Delete(client_.id, "**/caf%E9*"));
  EXPECT_THAT(Delete(client_.id, "**/caf%E9*"), HasReason(Reason::kPolicyNotFound));
}

TEST_F(PoliciesTest, ListsThemPageByPage) {
  ASSERT_OK(Set(Policy(client_.id, "b", 3)));
  ASSERT_OK(Set(Policy(client_.id, "a", 2)));
  ASSERT_OK(Set(Policy(client_.id, "", 1)));
  ASSERT_OK(Set(Policy("", "", 9)));
  for (const int page_size : {1, 2, 50}) {
    EXPECT_THAT(List(page_size), ElementsAre("store::9", "client::1", "client:a:2", "client:b:3"));
  }
}

TEST_F(PoliciesTest, RefusesWhatMakesNoSenseAndChangesNothing) {
  ASSERT_OK(Set(Policy("", "", 9)));
  v1::RetentionPolicy endless = Policy("", "", 1);
  endless.mutable_keep_within()->set_seconds(INT64_MAX);
  for (const auto& [policy, field] : {std::pair(Policy("", "", 0), "rules"),
                                      {Policy("", "", -1), "keep_last"},
                                      {Policy("", "", INT64_MAX), "keep_last"},
                                      {Policy("", "*", 1), "client_id"},
                                      {Policy("no-id", "", 1), "client_id"},
                                      {Policy(client_.id, "[z-a]", 1), "pattern"},
                                      {Policy(client_.id, "100%", 1), "pattern"},
                                      {endless, "keep_within"}}) {
    const absl::Status status = Set(policy);
    EXPECT_THAT(status, HasReason(Reason::kInvalidField)) << field;
    EXPECT_EQ(SubjectOf(status), field);
  }
  EXPECT_THAT(Set(Policy(kNobody, "", 1)), HasReason(Reason::kClientNotFound));
  EXPECT_THAT(List(50), ElementsAre("store::9"));
}

TEST_F(PoliciesTest, LimitsThePatternsOfAClient) {
  for (int i = 0; i < 100; ++i) ASSERT_OK(Set(Policy(client_.id, absl::StrCat(i), 1)));
  EXPECT_THAT(Set(Policy(client_.id, "one more", 1)), HasReason(Reason::kSizeLimit));
  EXPECT_OK(Set(Policy(client_.id, "99", 2)));
  EXPECT_OK(Set(Policy(client_.id, "", 2)));
}

TEST_F(PoliciesTest, PreviewsWhatGoesAndWhatKeepsTheRest) {
  const std::string other = service_.MakeClient("other").id;
  std::vector<std::string> ids;
  for (const char* name : {"a", "a", "a", "b"}) ids.push_back(absl::StrCat(Add(client_.id, name)));
  ids.push_back(absl::StrCat(Add(other, "c")));
  service_.clock.Advance(absl::Hours(1));
  v1::PreviewRetentionRequest request;
  request.set_client_id(client_.id);
  EXPECT_THAT(*Preview(request), ElementsAre(absl::StrCat("a:", ids[2], ":NEWEST:NO_POLICY"),
                                             absl::StrCat("a:", ids[1], ":NO_POLICY"),
                                             absl::StrCat("a:", ids[0], ":NO_POLICY"),
                                             absl::StrCat("b:", ids[3], ":NEWEST:NO_POLICY")));
  *request.mutable_policy() = Policy(client_.id, "a", 2);
  request.set_file_name("a");
  EXPECT_THAT(*Preview(request),
              ElementsAre(absl::StrCat("a:", ids[2], ":LAST:NEWEST"),
                          absl::StrCat("a:", ids[1], ":LAST"), absl::StrCat("a:", ids[0])));
  EXPECT_THAT(List(50), ElementsAre());  // It was not kept.
  EXPECT_EQ(Preview({})->size(), 5u);
  request.set_file_name("none");
  EXPECT_THAT(*Preview(request), ElementsAre());
}

TEST_F(PoliciesTest, RefusesPreviewsOfNothing) {
  v1::PreviewRetentionRequest request;
  request.set_file_name("a");
  EXPECT_THAT(Preview(request).status(), HasReason(Reason::kInvalidField));
  request.set_client_id(kNobody);
  EXPECT_THAT(Preview(request).status(), HasReason(Reason::kClientNotFound));
  request.set_client_id(client_.id);
  request.mutable_policy();
  EXPECT_THAT(Preview(request).status(), HasReason(Reason::kInvalidField));
}

}  // namespace
}  // namespace backup::handlers
