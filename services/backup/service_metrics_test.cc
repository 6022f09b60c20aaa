#include "services/backup/service_metrics.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ServiceMetricsTest : public ::testing::Test {
 protected:
  void Count(const EndedCall& call) { CountCall(service_metrics_, call); }
  EndedCall Upload(const absl::Status& outcome) const {
    return {.rpc = "UploadFile", .outcome = outcome, .from_old_client = true, .bytes = 100};
  }

  Metrics metrics_;
  const ServiceMetrics service_metrics_{metrics_};
};

TEST_F(ServiceMetricsTest, CountAnUploadWhenItIsRefusedOrElseWhenItsClientSettlesIt) {
  Count(Upload(absl::OkStatus()));
  EXPECT_THAT(metrics_.Text(),
              AllOf(Not(HasSubstr("result=\"verified\"")),
                    HasSubstr("backup_upload_bytes_total{source=\"legacy\"} 100\n")));
  for (const char* verdict : {"VERIFIED", "RETRYING", "ABANDONED"}) {
    Count({.rpc = "ReportTransfer", .outcome = absl::OkStatus(), .verdict = verdict});
    Count({.rpc = "ReportTransfer",
           .outcome = MakeError(Reason::kBackendDown, "away"),
           .verdict = verdict});
  }
  EXPECT_THAT(
      metrics_.Text(),
      AllOf(HasSubstr("{reason=\"OK\",result=\"verified\",source=\"grpc\"} 1\n"),
            HasSubstr("{reason=\"CHECKSUM\",result=\"rejected\",source=\"grpc\"} 1\n"),
            HasSubstr("{reason=\"CHECKSUM\",result=\"aborted\",source=\"grpc\"} 1\n"),
            HasSubstr("backup_resends_total 1\n"), Not(HasSubstr("source=\"legacy\"} 1\n"))));
}

TEST_F(ServiceMetricsTest, TellWhoIsToBlameForAnUploadThatWasNotTaken) {
  for (const Reason reason :
       {Reason::kInvalidField, Reason::kSizeLimit, Reason::kClientNotFound, Reason::kKeyNotSet,
        Reason::kContentRejected, Reason::kCredentialsMissing, Reason::kRoleDenied,
        Reason::kClientQuota}) {
    Count(Upload(MakeError(reason, "the caller's")));
    EXPECT_THAT(metrics_.Text(), HasSubstr(absl::StrCat("{reason=\"", InfoOf(reason).name,
                                                        "\",result=\"rejected\"")));
  }
  for (const Reason reason : {Reason::kStorageFull, Reason::kStorageIo, Reason::kBackendDown,
                              Reason::kOverloaded, Reason::kStateCorrupt}) {
    Count(Upload(MakeError(reason, "ours", "catalog")));
    EXPECT_THAT(metrics_.Text(),
                HasSubstr(absl::StrCat("{reason=\"", InfoOf(reason).name, "\",result=\"failed\"")));
  }
  EndedCall gone = Upload(MakeError(Reason::kInvalidField, "too short"));
  gone.cancelled = true;
  Count(gone);
  EXPECT_THAT(
      metrics_.Text(),
      AllOf(HasSubstr("{reason=\"CANCELLED\",result=\"aborted\",source=\"legacy\"} 1\n"),
            HasSubstr("{reason=\"INVALID_FIELD\",result=\"rejected\",source=\"legacy\"} 1\n"),
            HasSubstr("backup_admission_rejected_total{reason=\"catalog\"} 1\n")));
}

TEST_F(ServiceMetricsTest, CountFromTheStartWhatQuotasRefuse) {
  for (const char* source : {"legacy", "grpc"}) {
    EXPECT_THAT(metrics_.Text(),
                HasSubstr(absl::StrCat("\nbackup_uploads_total{reason=\"CLIENT_QUOTA\",result="
                                       "\"rejected\",source=\"",
                                       source, "\"} 0\n")));
  }
}

TEST_F(ServiceMetricsTest, TellWhichStepOfTheCryptographyFailed) {
  Count(Upload(MakeError(Reason::kContentRejected, "padding")));
  Count(
      {.rpc = "ExchangeKey", .outcome = MakeError(Reason::kInvalidField, "no key", "public_key")});
  Count({.rpc = "ExchangeKey", .outcome = MakeError(Reason::kInvalidField, "no id", "client_id")});
  Count({.rpc = "ResumeClient", .outcome = MakeError(Reason::kBlobDamaged, "not sealed by us")});
  Count({.rpc = "DownloadFile", .outcome = MakeError(Reason::kBlobDamaged, "a bit flipped")});
  Count({.rpc = "ExchangeKey", .outcome = MakeError(Reason::kRekeyRefused, "another key")});
  EXPECT_THAT(metrics_.Text(),
              AllOf(HasSubstr("backup_crypto_failures_total{stage=\"content\"} 1\n"),
                    HasSubstr("backup_crypto_failures_total{stage=\"public_key\"} 1\n"),
                    HasSubstr("backup_crypto_failures_total{stage=\"session_key\"} 1\n"),
                    HasSubstr("backup_crypto_failures_total{stage=\"stored\"} 1\n"),
                    HasSubstr("backup_rekeys_total{result=\"refused\"} 1\n")));
}

TEST_F(ServiceMetricsTest, CountWrongChecksumsOnPurpose) {
  EndedCall upload = Upload(absl::OkStatus());
  upload.checksum_is_wrong = true;
  Count(upload);
  EXPECT_THAT(metrics_.Text(), HasSubstr("backup_debug_faults_injected_total 1\n"));
}

}  // namespace
}  // namespace backup
