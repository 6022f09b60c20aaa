#include "rpc/grpc_log.h"

#include <string>

#include "glog/logging.h"
#include "gmock/gmock.h"
#include "grpc/support/log.h"
#include "gtest/gtest.h"

namespace backup::rpc {
namespace {

// Keeps the last line that was logged.
class LastLine final : public google::LogSink {
 public:
  LastLine() { google::AddLogSink(this); }
  ~LastLine() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity severity, const char*, const char* file, int line,
            const google::LogMessageTime& time, const char* message, size_t size) override {
    text_ = ToString(severity, file, line, time, message, size);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

TEST(GrpcLog, IsPartOfOurs) {
  SendGrpcLogToGlog();
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);  // Else gRPC decides when it is first used.
  const LastLine last;
  gpr_log("folder/of_grpc.cc", 42, GPR_LOG_SEVERITY_ERROR, "a %s", "complaint");
  EXPECT_THAT(last.text(), ::testing::MatchesRegex("E.* of_grpc\\.cc:42\\] a complaint"));
}

}  // namespace
}  // namespace backup::rpc
