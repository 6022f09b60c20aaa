#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/postgres/conninfo.h"
#include "storage/postgres/server_errors.h"

namespace backup::storage {
namespace {

using postgres::ConnectionRefused;
using postgres::Remedy;
using postgres::ServerErrorOf;
using testing::HasReason;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::StatusIs;

TEST(Conninfo, OfThisMachineNeedsNoCertificateAndOthersDo) {
  const auto mode = [](const std::string& conninfo) {
    std::string found;
    const std::vector<ConnectionParameters> hosts = ParametersOf(conninfo).value();
    for (const ConnectionParameters& host : hosts) {
      for (const auto& [keyword, value] : host) {
        if (keyword == "sslmode") absl::StrAppend(&found, found.empty() ? "" : " ", value);
      }
    }
    return found;
  };
  EXPECT_EQ(mode("host=/run/postgresql dbname=backup"), "");
  EXPECT_EQ(mode("postgres://user:pw@localhost/backup"), "");
  EXPECT_EQ(mode("host=127.0.0.1"), "");
  EXPECT_EQ(mode("postgres://user:pw@db.example/backup"), "verify-full");
  EXPECT_EQ(mode("host=a.example,b.example port=5432,5433"), "verify-full verify-full");
  EXPECT_EQ(mode("host=a.example hostaddr=10.0.0.1"), "verify-full");
  EXPECT_EQ(mode("postgres://user@db.example/backup?sslmode=require"), "require");
}

TEST(Conninfo, NamesEachHostWithItsPort) {
  const auto hosts = ParametersOf("host=a,b port=1,2 dbname=backup").value();
  ASSERT_EQ(hosts.size(), 2);
  const auto has = [&](size_t i, const char* keyword, const char* value) {
    return std::find(hosts[i].begin(), hosts[i].end(),
                     std::pair<std::string, std::string>(keyword, value)) != hosts[i].end();
  };
  EXPECT_TRUE(has(0, "host", "a") && has(0, "port", "1"));
  EXPECT_TRUE(has(1, "host", "b") && has(1, "port", "2"));
  EXPECT_TRUE(has(1, "dbname", "backup") && has(1, "target_session_attrs", "read-write"));
}

TEST(Conninfo, ThatCannotBeMeantIsRefusedWithoutQuotingIt) {
  for (const char* const conninfo :
       {"hush", "host=a password=hush hush", "postgres://user:hush@[host/db", "host=a unknown=hush",
        "host=a target_session_attrs=standby password=hush"}) {
    const absl::Status status = CheckConninfo(conninfo);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument)) << conninfo;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("hush")));
  }
  EXPECT_OK(CheckConninfo("postgres:///backup"));
  EXPECT_OK(CheckConninfo("service=backup"));
}

TEST(Conninfo, IsDescribedWithoutItsPassword) {
  EXPECT_EQ(DescribeConninfo("postgres://user:hush@db.example:5433/backup").value(),
            "host=db.example port=5433 dbname=backup user=user");
  EXPECT_EQ(DescribeConninfo("").value(), "the default server");
}

TEST(ServerErrors, BecomeReasonsAndSayWhatToDo) {
  const auto expect = [](const char* state, Reason reason, Remedy remedy) {
    const postgres::ServerError error = ServerErrorOf(state, "what it\nsays");
    EXPECT_THAT(error.status, HasReason(reason)) << state;
    EXPECT_EQ(error.remedy, remedy) << state;
    EXPECT_THAT(std::string(error.status.message()), HasSubstr("what it; says")) << state;
  };
  expect("53100", Reason::kStorageFull, Remedy::kNone);
  expect("53300", Reason::kBackendDown, Remedy::kNone);
  expect("57P01", Reason::kBackendDown, Remedy::kReconnect);
  expect("57014", Reason::kBackendDown, Remedy::kNone);
  expect("08006", Reason::kBackendDown, Remedy::kReconnect);
  expect("25006", Reason::kBackendDown, Remedy::kReconnect);
  expect("40001", Reason::kBackendDown, Remedy::kRunAgain);
  expect("40P01", Reason::kBackendDown, Remedy::kRunAgain);
  expect("55P03", Reason::kBackendDown, Remedy::kRunAgain);
  expect("XX001", Reason::kStateCorrupt, Remedy::kNone);
  expect("58030", Reason::kStorageIo, Remedy::kNone);
}

TEST(ServerErrors, OfConnectionsTellWhatHelpsFromWhatPasses) {
  const auto code = [](const char* message) { return ConnectionRefused(message).code(); };
  EXPECT_EQ(code("FATAL:  password authentication failed for user \"x\"\n"),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code("FATAL:  database \"x\" does not exist"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code("server does not support SSL, but SSL was required"),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code("SSL connection has been closed unexpectedly"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("FATAL:  the database system is starting up"), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace backup::storage
