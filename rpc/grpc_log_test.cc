#include "rpc/grpc_log.h"

#include <string>

#include "glog/logging.h"
#include "gmock/gmock.h"
#include "grpc/support/log.h"
#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

// Keeps the last line that was logged, and counts them.
class LastLine final : public google::LogSink {
 public:
  LastLine() { google::AddLogSink(this); }
  ~LastLine() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity severity, const char*, const char* file, int line,
            const google::LogMessageTime& time, const char* message, size_t size) override {
    text_ = ToString(severity, file, line, time, message, size);
    ++count_;
  }
  const std::string& text() const { return text_; }
  int count() const { return count_; }

 private:
  std::string text_;
  int count_ = 0;
};

class GrpcLogTest : public ::testing::Test {
 protected:
  GrpcLogTest() {
    SendGrpcLogToGlog();
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);  // Else gRPC decides when it is first used.
  }
};

TEST_F(GrpcLogTest, IsPartOfOurs) {
  const LastLine last;
  gpr_log("folder/of_grpc.cc", 42, GPR_LOG_SEVERITY_ERROR, "a %s", "complaint");
  EXPECT_THAT(last.text(), ::testing::MatchesRegex("E.* of_grpc\\.cc:42\\] a complaint"));
}

TEST_F(GrpcLogTest, WhatAPeerSentForgesNoLineAndHasAnEnd) {
  const LastLine last;
  const std::string sent = "x\nI20261130 forged.cc:1] all is well" + std::string(10'000, 'y');
  gpr_log("of_grpc.cc", 1, GPR_LOG_SEVERITY_ERROR, "value=%s", sent.c_str());
  EXPECT_THAT(last.text(), ::testing::HasSubstr("value=x%0AI2026"));
  EXPECT_LT(last.text().size(), 1000);
}

TEST_F(GrpcLogTest, ErrorsWithoutEndAreCounted) {
  const LastLine last;
  for (int i = 0; i < 10'000; ++i) gpr_log("of_grpc.cc", 1, GPR_LOG_SEVERITY_ERROR, "rubbish");
  EXPECT_LT(last.count(), 5'000);  // On a machine that takes a minute for it, too.
}

}  // namespace
}  // namespace backup::rpc
