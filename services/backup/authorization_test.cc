#include "services/backup/authorization.h"

#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "backup/v1/admin.pb.h"
#include "backup/v1/catalog.pb.h"
#include "backup/v1/ingest.pb.h"
#include "backup/v1/lifecycle.pb.h"
#include "backup/v1/types.pb.h"
#include "base/error.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

// The policy that is shipped.
Policy Shipped() {
  std::ifstream file("deploy/authz_policy.json");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const absl::StatusOr<Policy> policy = Policy::Parse(text);
  EXPECT_TRUE(policy.ok()) << policy.status();
  return policy.value_or(Policy());
}

// What a reader may. Who did what is for operators.
bool OnlyReads(absl::string_view method) {
  if (absl::StrContains(method, "Audit")) return false;
  for (const absl::string_view verb : {"List", "Get", "Download", "Verify", "Preview"}) {
    if (absl::StartsWith(method, verb)) return true;
  }
  return false;
}

TEST(ShippedPolicy, GivesEachRoleItsCallsAndNoOther) {
  const Policy policy = Shipped();
  int methods = 0;
  for (const auto* file :
       {v1::UploadFileRequest::descriptor()->file(), v1::DownloadFileRequest::descriptor()->file(),
        v1::ListTrashRequest::descriptor()->file(), v1::GetStatusRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      const auto& service = *file->service(s);
      for (int m = 0; m < service.method_count(); ++m, ++methods) {
        const std::string name = service.method(m)->name();
        const std::string path = absl::StrCat("/", service.full_name(), "/", name);
        const bool ingest = service.name() == "IngestService";
        EXPECT_EQ(policy.Allows("bridge", path), ingest) << path;
        EXPECT_EQ(policy.Allows("reader", path), !ingest && OnlyReads(name)) << path;
        EXPECT_TRUE(policy.Allows("operator", path)) << path;
        for (const char* nobody : {"service", "", "Operator", "root"})
          EXPECT_FALSE(policy.Allows(nobody, path)) << nobody << " " << path;
      }
    }
  }
  EXPECT_GE(methods, 17);
}

TEST(Policy, MatchesWholeNamesAndDeniesTheRest) {
  const absl::StatusOr<Policy> policy = Policy::Parse(R"({"a": ["/p.S/*", "/p.T/One"]})");
  ASSERT_TRUE(policy.ok());
  EXPECT_TRUE(policy->Allows("a", "/p.S/Any"));
  EXPECT_TRUE(policy->Allows("a", "/p.T/One"));
  for (const char* denied : {"", "/", "/p.S", "/p.SS/Any", "/p.T/OneMore", "/p.T/Two", "/p.T/*"})
    EXPECT_FALSE(policy->Allows("a", denied)) << denied;
}

TEST(Authorization, SaysByItsReasonWhetherTheCertificateOrTheRoleIsToBlame) {
  const auto authorization = Authorization::Open("deploy/authz_policy.json");
  ASSERT_TRUE(authorization.ok()) << authorization.status();
  constexpr char kMethod[] = "/backup.v1.CatalogService/ListClients";
  EXPECT_TRUE((*authorization)->Check("reader", kMethod).ok());
  EXPECT_EQ(ReasonOf((*authorization)->Check("bridge", kMethod)), Reason::kRoleDenied);
  EXPECT_EQ(ReasonOf((*authorization)->Check("nobody", kMethod)), Reason::kRoleDenied);
  EXPECT_EQ(ReasonOf((*authorization)->Check("", kMethod)), Reason::kCredentialsMissing);
}

TEST(Policy, RefusesWhatMakesNoSense) {
  for (const char* text : {"", "[]", "{", R"({"a": "/p.S/M"})", R"({"a": [1]})", R"({"a": ["M"]})"})
    EXPECT_TRUE(absl::IsInvalidArgument(Policy::Parse(text).status())) << text;
}

}  // namespace
}  // namespace backup
