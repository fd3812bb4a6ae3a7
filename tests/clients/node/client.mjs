// One scenario with OpenAI's own package for Node, changed in nothing but the URL:
//   node client.mjs SCENARIO BASE_URL
// What came of it is printed as one JSON object.
import OpenAI from "openai";

const [scenario, baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "anything" });
const model = "gpt-4o-mini";
const messages = [{ role: "user", content: "How is the weather in Zürich?" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, unit: { type: "string" } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_weather", parameters, strict: true } }];

const failure = (error) => ({
  class: error.constructor.name,
  status: error.status ?? null,
  code: error.code ?? null,
  requestId: error.requestID ?? null,
});

const scenarios = {
  async chat() {
    const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
    return {
      text: data.choices[0].message.content,
      tokens: data.usage.total_tokens,
      requestId: data._request_id,
      route: response.headers.get("x-forebay-route"),
    };
  },
  async stream() {
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let tokens = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      tokens = chunk.usage?.total_tokens ?? tokens;
    }
    return { text, tokens };
  },
  async tools() {
    const whole = await client.chat.completions.create({ model, messages, tools });
    const streamed = await client.chat.completions
      .stream({ model, messages, tools })
      .finalChatCompletion();
    return [whole, streamed].map((answer) => answer.choices[0].message.tool_calls[0].function.arguments);
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] });
    return answer.data.map((item) => item.embedding);
  },
  async error() {
    return await client.chat.completions.create({ model, messages }, { maxRetries: 0 }).catch(failure);
  },
  async streamedError() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    let chunks = 0;
    try {
      for await (const _ of stream) chunks += 1;
    } catch (error) {
      return { chunks, ...failure(error) };
    }
    return { chunks };
  },
  async retries() {
    const answer = await client.chat.completions.create({ model, messages });
    return { text: answer.choices[0].message.content };
  },
  async timeout() {
    return await client.chat.completions
      .create({ model, messages }, { timeout: 300, maxRetries: 0 })
      .catch(failure);
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
