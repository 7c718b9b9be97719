// The same question to every core of this node, for cold paths.
//
//   ask_every_core(broker, [](Broker& target) { return ...; }, [](Broker& origin, auto& answers) { ... });
//
// Threading: the question runs on every core, at once, and only reads what it has captured; what follows runs
// on the core that asks, when the last answer is there, for the own core alone before this returns. Memory:
// one allocation of all calls, freed after that.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "esc/base/assert.h"
#include "esc/broker/broker.h"

namespace esc::broker {

template <class Ask, class Then>
class EveryCore {
 public:
  using Told = std::invoke_result_t<const Ask&, Broker&>;
  using Answer = std::conditional_t<std::is_void_v<Told>, std::monostate, Told>;
  struct Part : Call {
    EveryCore* all = nullptr;
    Answer answer{};
  };

  EveryCore(Ask ask, Then then, std::uint32_t cores)
      : ask_(std::move(ask)), then_(std::move(then)), parts_(cores), outstanding_(cores) {}

  static void start(Broker& broker, Ask ask, Then then) {
    const std::uint32_t cores = broker.router().cores();
    ESC_ASSERT(cores > 0);
    EveryCore& all = *std::make_unique<EveryCore>(std::move(ask), std::move(then), cores).release();
    // The last answer may come within the last send, and frees all.
    for (std::uint32_t core = 0; core < cores; ++core) {
      Part& part = all.parts_[core];
      part.all = &all;
      part.target = CoreId(core);
      part.run = &run;
      part.done = &done;
      broker.router().send(part);
    }
  }

 private:
  static void run(Call& base, Broker& target) {
    auto& part = static_cast<Part&>(base);
    const Ask& ask = part.all->ask_;
    if constexpr (std::is_void_v<Told>) {
      ask(target);
    } else {
      part.answer = ask(target);
    }
    target.router().reply(base);
  }
  static void done(Call& base, Broker& origin) {
    EveryCore* const all = static_cast<Part&>(base).all;
    if (--all->outstanding_ > 0) return;
    const std::unique_ptr<EveryCore> owned(all);
    all->then_(origin, all->parts_);
  }

  const Ask ask_;
  Then then_;
  std::vector<Part> parts_;
  std::uint32_t outstanding_;
};

// `then` gets the parts, by core, each with its `answer`.
template <class Ask, class Then>
void ask_every_core(Broker& broker, Ask ask, Then then) {
  EveryCore<Ask, Then>::start(broker, std::move(ask), std::move(then));
}

template <class Tell>
void tell_every_core(Broker& broker, Tell tell) {
  ask_every_core(broker, std::move(tell), [](Broker&, auto&) {});
}

}  // namespace esc::broker
